"""Which characters make words, and their lower case: Unicode 14.0, frozen.

Signatures must not change with the Python that computes them, so the tables stand here, packed, and are not taken
from the running `unicodedata`. 150 KB unpacked, in about 20 ms.
"""

from __future__ import annotations

import base64
import zlib
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.text.scripts import SCRIPTS_WITHOUT_SPACES

SEPARATOR = 0  # everything else: white space, punctuation, underscores, symbols, controls
WORD = 1  # str.isalnum()
MARK = 2  # general category M: belongs to the word before it, and separates where there is none
ALONE = 3  # str.isalnum() in a script that is written without spaces: a word of its own

# Runs of equal values over all code points as pairs of variable-length integers (7 bits a byte, low bits first; the
# value with its sign in bit 0), zlib, base 85. The test of this module writes them anew and compares.
_KIND_RUNS = (
    "c-nneO=w(I6h8O7^WMDoW+ur@^V>8(t?4vPnkH#&`lE|z{Gli+h>9)*5f!zd;?j+X*o6u%L_wi0l<q`bsAN|~5&QuK+l?SrQ5TB15*IG~&iC$2Cd"
    "InAd2jAL@BDt}yC*ABYE5=(hP5mK@2UaMgwF(P3~L7K^F&P=Iv^>80)<-gxTSbgRWa^lJW2Q-WEksqtmpkl&CdFx16h~buemH4<ghfZV7W}fis_W"
    "pEtN$bu@b-Girr70HB-q9_8@IGNL@p2%cgY_XLoDe0(@N50#b$(NML_d4f_RFf|XiZCh%rb*Hp%#InzRNThMXn-EC`>YMa|Dp+=FUAVa<@IW&5_q"
    "aIRBmC;J&olE=IId&{2(f1mV$>?vON3JVlY+Jgtx2R82*Ff0>ziTnaHF2MiW2;k35i{PeC5;~CI8V6T@}O&GG=<k7o?RMI|My!F)g;*#Pf6*LQXW"
    "Y{A1neVP*1{@U^NhFiYOA+twKPs0cmOz`*|PKhI*Dml&%pQ33I2t2=Z?B8Nt@~<u>p8b!6S#M(-82&AQp!@0jZQ0x0qQSpOZ2u{vub9>+{U`wBl2"
    ");f!5&S9x^Ppv5{(4f$oLdt7V>b_onymQ9mdr3LRr*fY;rJvqev-my62!^$?Q7uP@$3BPb4zq_+$G^-O>TAc*1;bWHrhzjgJt6wt8+5WYwc(ZX{("
    "_wjZKjN85$|6qi>Wcm)%*VV-2ESCgLoc~?;GlXDd22^at_IzgnlBw`(X=0J7MW2Y}A3}HtZM3Zvr&8k?RI9QB}m>uhdz`K07%uAD-J5>)^g;==hq"
    "~+xBQ+&29iDovs?lPQyx>XGZIC06LuJ>be&=@y<G;CA3UA8m-dX6z|&^TLmVUwT0X!v{t~A1Ps%(V>*EMIpj6RNg}JzUciGz4;i7lUn59pu#6QY+"
    "sL_~>-LI92I$0R9@E!dGuS)Q$0`ZmD|T_FXjX{C-jh=4O2w<&)WhJcR?Jd`ZT~)vY#e%J3Xpd^r8r|o<%C{H<!ZeJ&HtClwEmvU&)%Cxq!iTGkBw"
    "vG{y}7H45zi|?d8_2`IU0sLzzIDyg^cy!-xqI3&ifBb18v$F9R-RR#$+XSp+l9L=EzNAD-t_&K=fudGYO_8*&hOUUZh(rNgr9EH7SF<kD`#+6%KP"
    "4`Hptz*gstLwO*FdaWuv;5Tww0&@+xb_o1m5^rsD@K%f#tb;yQAgBo(Ou4f_$^e+mD}m0n33AB*Fzwp&$Tk_iNXS-)h|`33SW3?E-{a&r+(t}^!g"
    "3Z-lJ(`;6Epx_Pm)Wzn%}w$4v!(HtNQG<@`pp?5$)iE1{_MIYVyFgN_*5?ty8*Nep78DJ1T2BPo5sKA*^)@pANdCZ$hY}-I6}n+}SJek+*apNh)i"
    "laC4751rL_6j-!QCpFo123C!6l5#%@h9HN_slO05!;!VkAIbB_lGZmaOZu*)>dwO~5w6b+wZU4O?A3AnNQOg{eb>3beUtiz5fe*y{$qkHQ%@F4~W"
    "L9DrDQM0a;|5?J?27Yc-ZiM2IGa`+HASj(>=a;V=bc#q)&1XvD&o!qC#=DbQOHd~=T1n~^fo!EN98d1<}gyb06}Myvq}XEq&~koZ(+Qnpmfto66F"
    "G6?yZ;D5gi0&PLpOFMg`njf-D*o7taL8gbZ?X0Ha?pBnJ*ASCC2rwXEROeB@$ib>hRrbutdn(lEcMuj%9ZD$|aMWt^t8VwW8wIN0@#5#6glC28Xh"
    "L8PfYAHaNVa}uDV=*(%{ox@gjEVC0}&-D~G=9FlAAkgCFP{(lx&C#@KI9fxhaU=N!0A)4Z^m-541DHh{bTdTuRo=i^>?Mo6==V;Ey1V2)nygvmP@"
    "BZx(&l|mVAXtLg#&g_hv-Thl|8K-4fe80u>kfdt-w8sodG-9%TEW!limnSGlW7$&?@1S#?v%L_km9%W}AUTJfe&8T1_96$IxV-1pRVY?!)#wxqdS"
    "vpP6oM$fn`D8P+V5TjSHcNr9gggaYJfBMx-9zToQ)eK(c6^kLl6#!2d^PoJ0>*1H^vPZg~9_cDrep+K(|`s?*XM>n=NRhQ5sEo|oULZZ*M<x!|^q"
    "U#C<0*KqiIXUQbYG<nXFhlq`Gd>M_FZ;mty8j<>3Q#;9<PPY)u{$6~yt&OrM5o)nCQc!F{JkrpHjUS!?|thZP7vVLKR5sPbQ~Pgr%jFmQHNOc0jy"
    "E42vGJlCI-F8>Pf2tORU%V0Q!SLtC7aM0Y6f9Y|F<Hu<|bzw_A@mgM1pQk;3-NbrsC;>8qJs6&c6$W@vTUkE;(S<HsRVTNxFG-allvZ45{*k-v0x"
    "&$_j=K7Fpc6~~a2@1OWw^3w=Tp3CJ2jE%FhIg9ds?<$^I!oOngozOSN<&5c%b@`&B?|-)_e+GN$pSt`DB6F4F"
)
_LOWER_RUNS = (
    "c-q}o%}Z2K6hFUn-+MFTG`<-G6^WQW5J3{57C|mv;7Ua1Kgdn%a8d1IOk^U-O=Al&nNo6WN<>7F2&RQZgcJoWa~pv~L5qlCI`_S&^ZFpOe2Fc7_k"
    "7)R@44rld+s|!EzUV=azGL1Fo6*+uB)Jew{hTbgZY4(s0h<)OPp|79#?J*lR#eKre_x2q&~!5g*(di6YieY+*jYMzNmb{L75k7vz9!6jt~r25gh+"
    "IF&td!F>rp@^EdQc6XkTTi(aNz883?PgCAD728`lIkK0`PC>$lcg+=HEsUA^gAxXRpN=eDaoTG$fbcd0fgiHPo37sZ2#K{8EPUkLUB^Le_3gXb7-"
    "JQ_E)Y|{Fky^_GB9#YBJ-jq2Q&=~w<amnOs~z&`svYJ1e$amjDbLEq{eOt49VN@IbE(J22{r=I`sOXW2HSiCNX5x0xkThAIH1WokPx{F{vwuHsi&"
    "0-(s?RZfRRDndQKguWV%6iUa+X;<a|AK_WQkJV+MG38f!E7t_qi><9!z6BcTrk{)Ln<Dn<MswY1rG4Z+&SFn4PBL%-awjA{>4S6Ab6#h*O)hDV?0"
    "P2PF5xiJ&B1Y?3hftCqVc@wV$vx0K{wu_v_u(-Y749@bNO_x6?D9u6s8&_l0mbnT#mYD#>`#`oJBH+Gv2|AI*MiZr-YzZ<JK7o#Ozj@F_UjZ@zZc"
    "+"
)


class Letters(NamedTuple):
    """Look-up tables: the entry of code point c is entries[blocks[c >> 8] << 8 | c & 255].

    Attributes:
        ascii: (128,); 256 + what to write for a character of a word; a space for any other.
        blocks: (8192,); one for each 256 numbers that 21 bits can spell, so that malformed UTF-8 stays inside.
        entries: (distinct blocks * 256,); bits 0 and 1 are the kind, the rest is what to write minus the code point.
    """

    ascii: NDArray[np.uint16]
    blocks: NDArray[np.uint16]
    entries: NDArray[np.int32]


@cache
def lower_case_words() -> Letters:
    """Return the tables for runs of letters, digits and other numbers, in lower case.

    Lower case is the simple mapping: one code point to one, without regard to its neighbours, so U+0130 gives i and
    every capital sigma gives U+03C3. Elsewhere it is what str.lower() gives for the single character.
    """
    kinds = _unpack(_KIND_RUNS)
    for first, last in SCRIPTS_WITHOUT_SPACES:
        block = kinds[first : last + 1]
        block[block == WORD] = ALONE
    return _letters(kinds, _unpack(_LOWER_RUNS))


@cache
def words_between_spaces() -> Letters:
    """Return the tables for str.split(): everything but white space makes words and stays as it is."""
    # U+0009-000D, 001C-0020, 0085, 00A0, 1680, 2000-200A, 2028, 2029, 202F, 205F, 3000, in every Python since 3.4.
    kinds = np.array([SEPARATOR if chr(code).isspace() else WORD for code in range(0x110000)], np.int32)
    return _letters(kinds, np.zeros_like(kinds))


def _letters(kinds: NDArray[np.int32], changes: NDArray[np.int32]) -> Letters:
    entries = np.zeros(1 << 21, np.int32)
    entries[: len(kinds)] = changes << 2 | kinds
    numbers: dict[bytes, int] = {}
    blocks = np.array([numbers.setdefault(block.tobytes(), len(numbers)) for block in entries.reshape(-1, 256)])
    distinct = np.frombuffer(b"".join(numbers), np.int32)
    codes = np.arange(128, dtype=np.int32)
    ascii_bytes = np.where(kinds[:128] == WORD, 256 + codes + changes[:128], 0x20)
    tables = Letters(ascii_bytes.astype(np.uint16), blocks.astype(np.uint16), distinct)
    for table in tables:
        table.flags.writeable = False
    return tables


def _unpack(packed: str) -> NDArray[np.int32]:
    numbers: list[int] = []
    shift = number = 0
    for byte in zlib.decompress(base64.b85decode(packed)):
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            shift = number = 0
    lengths, signed = np.array(numbers[::2]), np.array(numbers[1::2])
    return np.repeat(np.where(signed & 1, -(signed >> 1) - 1, signed >> 1), lengths).astype(np.int32)
