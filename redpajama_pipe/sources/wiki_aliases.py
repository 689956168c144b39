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
