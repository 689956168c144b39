"""What File: and Category: are called in each Wikipedia, for the cleaning of wikitext.

As the Hugging Face `wikipedia` script (version 2.0.0) has them, which took them in December 2021 from MediaWiki's
`action=query&meta=siteinfo&siprop=namespacealiases|namespaces` for the namespaces -2, 6 and 14. The English names hold
in every language and are not repeated. The tables stay as published, so that the text stays the same.
"""

from __future__ import annotations

MEDIA = ("File", "Image", "Media")
CATEGORY = ("Category",)

MEDIA_ALIASES: dict[str, tuple[str, ...]] = {
    "bg": ("Медия", "Файл", "Картинка"),
    "ca": ("Fitxer", "Imatge"),
    "cs": ("Soubor", "Média", "Obrázok"),
    "da": ("Billede", "Fil"),
    "de": ("Medium", "Datei", "Bild"),
    "en": (),
    "es": ("Medio", "Archivo", "Imagen"),
    "fr": ("Média", "Fichier"),
    "hr": ("Mediji", "DT", "Slika", "F", "Datoteka"),
    "hu": ("Kép", "Fájl", "Média"),
    "it": ("Immagine",),
    "ja": ("メディア", "ファイル", "画像"),
    "nl": ("Bestand", "Afbeelding"),
    "pl": ("Plik", "Grafika"),
    "pt": ("Multimédia", "Ficheiro", "Arquivo", "Imagem"),
    "ro": ("Fişier", "Imagine", "Fișier"),
    "ru": ("Медиа", "Файл", "Изображение"),
    "simple": (),
    "sl": ("Slika", "Datoteka"),
    "sr": ("Датотека", "Medij", "Slika", "Медија", "Datoteka", "Медиј", "Medija", "Слика"),
    "sv": ("Fil", "Bild"),
    "uk": ("Медіа", "Медиа", "Файл", "Изображение", "Зображення"),
    "zh": ("媒体文件", "F", "文件", "媒體", "档案", "图像", "圖像", "媒体", "檔案"),
}

CATEGORY_ALIASES: dict[str, tuple[str, ...]] = {
    "bg": ("Категория",),
    "ca": ("Categoria",),
    "cs": ("Kategorie",),
    "da": ("Kategori",),
    "de": ("Kategorie",),
    "en": (),
    "es": ("CAT", "Categoría"),
    "fr": ("Catégorie",),
    "hr": ("CT", "KT", "Kategorija"),
    "hu": ("Kategória",),
    "it": ("CAT", "Categoria"),
    "ja": ("カテゴリ",),
    "nl": ("Categorie",),
    "pl": ("Kategoria",),
    "pt": ("Categoria",),
    "ro": ("Categorie",),
    "ru": ("Категория", "К"),
    "simple": (),
    "sl": ("Kategorija",),
    "sr": ("Kategorija", "Категорија"),
    "sv": ("Kategori",),
    "uk": ("Категория", "Категорія"),
    "zh": ("分类", "分類", "CAT"),
}

# Words that begin a redirect beside #REDIRECT, as MediaWiki's Messages*.php define the magic word `redirect`.
REDIRECT_WORDS: dict[str, tuple[str, ...]] = {
    "bg": ("#пренасочване", "#виж"),
    "ca": ("#REDIRECCIÓ", "#REDIRECCIO", "#REDIRECCION"),
    "cs": ("#PŘESMĚRUJ", "#presmeruj"),
    "de": ("#WEITERLEITUNG",),
    "es": ("#REDIRECCIÓN", "#REDIRECCION"),
    "fr": ("#REDIRECTION",),
    "hr": ("#PREUSMJERI",),
    "hu": ("#ÁTIRÁNYÍTÁS",),
    "it": ("#RINVIA", "#RINVIO", "#RIMANDO"),
    "ja": ("#転送", "#リダイレクト", "＃転送", "＃リダイレクト"),
    "nl": ("#DOORVERWIJZING",),
    "pl": ("#PATRZ", "#PRZEKIERUJ", "#TAM"),
    "pt": ("#REDIRECIONAMENTO",),
    "ro": ("#REDIRECTEAZA",),
    "ru": ("#перенаправление", "#перенапр"),
    "sl": ("#PREUSMERITEV",),
    "sr": ("#Преусмери", "#Преусмјери", "#Preusmeri", "#Preusmjeri"),
    "sv": ("#OMDIRIGERING",),
    "uk": ("#ПЕРЕНАПРАВЛЕННЯ", "#ПЕРЕНАПР", "#перенаправление"),
    "zh": ("#重定向",),
}


def name_set(names: str) -> frozenset[str]:
    """Split names at white space."""
    return frozenset(names.split())


# Prefixes of links to another Wikipedia, as wikimedia/operations-mediawiki-config: langlist has them.
INTERLANGUAGE = name_set(
    "aa ab ace ady af ak als alt am ami an ang anp ar arc ary arz as ast atj av avk awa ay az azb ba ban bar "
    "bat-smg bcl be be-tarask be-x-old bg bh bi bjn blk bm bn bo bpy br bs btm bug bxr ca cbk-zam cdo ce ceb ch "
    "cho chr chy ckb co cr crh cs csb cu cv cy da dag de din diq dsb dty dv dz ee el eml en eo es et eu ext fa "
    "fat ff fi fiu-vro fj fo fr frp frr fur fy ga gag gan gcr gd gl glk gn gom gor got gpe gsw gu guc gur guw gv "
    "ha hak haw he hi hif ho hr hsb ht hu hy hyw hz ia id ie ig ii ik ilo inh io is it iu ja jam jbo jv ka kaa "
    "kab kbd kbp kcg kg ki kj kk kl km kn ko koi kr krc ks ksh ku kv kw ky la lad lb lbe lez lfn lg li lij lld "
    "lmo ln lo lrc lt ltg lv lzh mad mai map-bms mdf mg mh mhr mi min mk ml mn mni mnw mo mr mrj ms mt mus mwl my "
    "myv mzn na nah nan nap nds nds-nl ne new ng nia nl nn no nov nqo nrm nso nv ny oc olo om or os pa pag pam "
    "pap pcd pcm pdc pfl pi pih pl pms pnb pnt ps pt pwn qu rm rmy rn ro roa-rup roa-tara ru rue rup rw sa sah "
    "sat sc scn sco sd se sg sgs sh shi shn shy si simple sk skr sl sm smn sn so sq sr srn ss st stq su sv sw szl "
    "szy ta tay tcy te tet tg th ti tk tl tly tn to tpi tr trv ts tt tum tw ty tyv udm ug uk ur uz ve vec vep vi "
    "vls vo vro wa war wo wuu xal xh xmf yi yo yue za zea zh zh-classical zh-min-nan zh-yue zu"
)
