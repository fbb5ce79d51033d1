"""The languages of recordings, by code and English name: those that Whisper knows.

Source: https://github.com/openai/whisper/blob/main/whisper/tokenizer.py
"""

from __future__ import annotations

from mlxk.errors import UsageError

_TABLE = """
en:english, zh:chinese, de:german, es:spanish, ru:russian, ko:korean, fr:french, ja:japanese, pt:portuguese, tr:turkish,
pl:polish, ca:catalan, nl:dutch, ar:arabic, sv:swedish, it:italian, id:indonesian, hi:hindi, fi:finnish, vi:vietnamese,
he:hebrew, uk:ukrainian, el:greek, ms:malay, cs:czech, ro:romanian, da:danish, hu:hungarian, ta:tamil, no:norwegian,
th:thai, ur:urdu, hr:croatian, bg:bulgarian, lt:lithuanian, la:latin, mi:maori, ml:malayalam, cy:welsh, sk:slovak,
te:telugu, fa:persian, lv:latvian, bn:bengali, sr:serbian, az:azerbaijani, sl:slovenian, kn:kannada, et:estonian,
mk:macedonian, br:breton, eu:basque, is:icelandic, hy:armenian, ne:nepali, mn:mongolian, bs:bosnian, kk:kazakh,
sq:albanian, sw:swahili, gl:galician, mr:marathi, pa:punjabi, si:sinhala, km:khmer, sn:shona, yo:yoruba, so:somali,
af:afrikaans, oc:occitan, ka:georgian, be:belarusian, tg:tajik, sd:sindhi, gu:gujarati, am:amharic, yi:yiddish, lo:lao,
uz:uzbek, fo:faroese, ht:haitian creole, ps:pashto, tk:turkmen, nn:nynorsk, mt:maltese, sa:sanskrit, lb:luxembourgish,
my:myanmar, bo:tibetan, tl:tagalog, mg:malagasy, as:assamese, tt:tatar, haw:hawaiian, ln:lingala, ha:hausa, ba:bashkir,
jw:javanese, su:sundanese, yue:cantonese, my:burmese, ca:valencian, nl:flemish, ht:haitian, lb:letzeburgesch, ps:pushto,
pa:panjabi, ro:moldavian, ro:moldovan, si:sinhalese, es:castilian, zh:mandarin
"""
_BY_NAME = {name: code for code, _, name in (entry.partition(":") for entry in " ".join(_TABLE.split()).split(", "))}
"""Some languages have more names than one."""


def code(language: str) -> str:
    """The two or three letters for a language, which may be given by its name. Raises UsageError."""
    wanted = language.strip().lower()
    if wanted in _BY_NAME.values():
        return wanted
    if wanted not in _BY_NAME:
        raise UsageError(f"There is no language {language!r}; give its code, as en, de or ja.")
    return _BY_NAME[wanted]
