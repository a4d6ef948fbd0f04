#!/usr/bin/env python3
"""Writes the buckets that scikit-learn gives to a list of texts: what crates/fhe/src/text is tested against.

usage: pip install -r requirements.txt; python3 text_vectors.py > ../../crates/fhe/src/text/vectors.json
"""

import json
import random
import unicodedata

from sklearn.feature_extraction.text import HashingVectorizer

BUCKETS = 2048

TEXTS = [
    "",
    "a",
    "ab",
    "a b c",
    "The quick brown fox jumps over the lazy dog. The dog sleeps.",
    "Failed password for invalid user admin from 203.0.113.7 port 51122 ssh2",
    "snake_case __init__ _ __ x_ 1_000",
    "don't can't it's o'clock",
    "e-mail: someone@example.org, https://example.org/a/b?c=d&e=f#g",
    "3.14159 -273.15 1e10 0x7f 42",
    "UPPER lower MiXeD",
    "tab\tnew\nline\r\nreturn\u00a0space\u2003em",
    "naïve café Ångström ÉCOLE",
    "cafe\u0301 combining A\u030angstro\u0308m",
    "Straße GROSSE ẞ",
    "İstanbul Iğdır ısı",
    "ΟΔΥΣΣΕΥΣ ὈΔΥΣΣΕΎΣ σοφός ΣΑΣ ΑΣ",
    "Привет мир, ещё ёлка ЁЛКА",
    "שלום עולם שָׁלוֹם",
    "مرحبا بالعالم مُحَمَّد",
    "नमस्ते दुनिया हिन्दी",
    "สวัสดีชาวโลก",
    "வணக்கம் உலகம்",
    "你好世界 你 好 漢字 一二三",
    "こんにちは 世界 カタカナ ｶﾀｶﾅ",
    "안녕하세요 세계",
    "emoji 😀😀 👩‍👩‍👧 ok 🇪🇺 flags",
    "½ ¼ ² ³ ٣٤٥ ⅷ ⅷⅸ Ⅷ ㊿ ①②③ ⓐⓑⓒ",
    "zero\u200bwidth joiner\u200d non\u200cjoiner soft\u00adhyphen \ufeffbom",
    "underscore‿tie a‿b plain_tie",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟘𝟙𝟚 𐐀𐐨𐐁",
    "ﬁ ﬂ ﬁnd oﬀer ǅ ǆ",
    "ªº µm Ω ℃ Å K",
    "ʰʷ ˈstress ˌsecondary tɛst",
    "한글ᄀᄀ ᆨᆨ",
    "\u0000nul\u0000bytes \u0007bell",
    "ა ბგ ᲐᲑᲒ Ა",
    "Ꭰ Ꭱꭱ ꭰꭱ",
    "repeat " * 50,
    "word" * 200,
    "x" * 1 + " " + "y" * 2 + " " + "z" * 3 + " " + "w" * 4 + " " + "v" * 5,
]


def random_texts(count):
    """Any characters at all, so that every kind of letter, mark and number is met."""
    source = random.Random(7)
    planes = [(0x20, 0x7F), (0xA0, 0x52F), (0x531, 0x7FF), (0x900, 0xDFF), (0xE00, 0x1FFF), (0x2000, 0x2BFF), (0xA000, 0xA95F)]
    for _ in range(count):
        low, high = source.choice(planes)
        letters = [chr(source.randrange(low, high)) for _ in range(60)]
        # Characters that this Python does not know may be letters to a newer Unicode.
        letters = [letter for letter in letters if unicodedata.category(letter) != "Cn"]
        yield "".join(letter + source.choice(["", "", "", " "]) for letter in letters)


def main():
    plain = HashingVectorizer(n_features=BUCKETS, alternate_sign=False, norm=None)
    share = HashingVectorizer(n_features=BUCKETS, alternate_sign=False, norm="l2")
    print(f'{{"buckets": {BUCKETS}, "texts": [')
    texts = TEXTS + list(random_texts(40))
    for index, text in enumerate(texts):
        row = {
            "text": text,
            "counts": pairs(plain, text, int),
            "l2": pairs(share, text, float),
        }
        print(json.dumps(row) + ("," if index + 1 < len(texts) else ""))
    print("]}")


def pairs(vectorizer, text, kind):
    matrix = vectorizer.transform([text]).tocoo()
    return sorted([int(at), kind(value)] for at, value in zip(matrix.col, matrix.data) if value)


if __name__ == "__main__":
    main()
