//! `task`: synthetic tasks.

use crate::data::LONGEST;
use crate::fields::{
    Field, Kind, Preset, Table, Variant, field, number, truth, variant, whole, word,
};

const LENGTH: Field = whole("length", 64, [2, LONGEST as u64], "of a sequence").unit("tokens");
const QUERIES: Field = whole("queries", 1, [1, 1 << 16], "asked at the end of a sequence");

const fn vocab(default: u64, least: u64) -> Field {
    whole("vocab", default, [least, 1 << 24], "tokens")
}

/// `task`
pub static TASK: Table = Table::one_of(&KINDS, None);

const KINDS: [Variant; 12] = [
    variant(
        "mqar",
        &[
            LENGTH,
            whole("pairs", 4, [1, 1 << 20], "of key and value"),
            vocab(8192, 8),
            field(
                "fewest",
                Kind::Whole([1, 1 << 20]),
                Preset::Words("`pairs`"),
                "each sequence draws its number of pairs from here to `pairs`, every doubling equally likely",
            ),
            whole(
                "updates",
                0,
                [0, 1 << 20],
                "keys that get a new value behind the pairs; the newest one is asked",
            ),
            number("power", 0.01, [1e-4, 10.0], "gaps are from this power law"),
        ],
        "associative recall (Arora et al. 2024); keys from the lower half of the vocabulary, values from the upper; fillers never a key of their sequence",
    ),
    variant(
        "niah",
        &[
            LENGTH,
            word(
                "haystack",
                &["noise", "repeat", "needles"],
                "random words, one sentence again and again, or nothing but needles",
            ),
            word(
                "values",
                &["numbers", "uuid", "words"],
                "numbers of 7 digits, 32 of sixteen, or one of `answers` words",
            ),
            whole("answers", 64, [2, 1 << 20], "words that are values"),
            field(
                "needles",
                Kind::Whole([1, 1 << 20]),
                Preset::Words("1, or as many as fit"),
                "one needle is S-NIAH, several are M-NIAH",
            ),
            field(
                "digits",
                Kind::Whole([1, 64]),
                Preset::Words("as `values` says"),
                "tokens of a value",
            ),
            QUERIES,
            whole("keys", 64, [2, 1 << 20], "words that are keys"),
            whole("words", 64, [1, 1 << 20], "of the haystack"),
        ],
        "needles in a haystack (RULER, by tokens): a mark, a key, a value; at the end a key is asked",
    ),
    variant(
        "phonebook",
        &[
            LENGTH,
            QUERIES,
            whole("names", 64, [2, 1 << 16], "first and last ones each"),
            whole("digits", 4, [1, 64], "of a number"),
        ],
        "people with two names and a number, as many as fit; the numbers of some are asked",
    ),
    variant("copy", &[LENGTH, vocab(64, 3)], "the first half again"),
    variant(
        "selective_copy",
        &[LENGTH, vocab(16, 4), whole("marked", 16, [1, 1 << 20], "tokens to copy")],
        "tokens among blanks, in their order",
    ),
    variant(
        "induction",
        &[LENGTH, vocab(16, 3)],
        "what followed a special token, when it comes again",
    ),
    variant(
        "classification",
        &[
            LENGTH,
            whole("features", 4, [1, 64], "of an example"),
            whole("values", 6, [2, 1 << 12], "that a feature can have"),
            whole("labels", 2, [2, 64], "of examples"),
        ],
        "in-context learning: one feature decides the labels, another one in every sequence; the second half of the examples is asked",
    ),
    variant("parity", &[LENGTH], "parity of the bits so far, asked at every token"),
    variant(
        "modular",
        &[
            LENGTH,
            whole("modulus", 5, [2, 64], "of the arithmetic"),
            truth("brackets", false, "one expression with brackets, asked at its end"),
        ],
        "chains of + - * from left to right, asked after each operand",
    ),
    variant(
        "permutations",
        &[LENGTH, whole("of", 5, [2, 5], "things")],
        "the product of permutations so far, asked at every token",
    ),
    variant(
        "cycle",
        &[LENGTH, whole("places", 5, [2, 1 << 12], "on the circle")],
        "the place on a circle after steps forward, backward or none",
    ),
    variant(
        "text",
        &[
            LENGTH,
            field(
                "path",
                Kind::Path,
                Preset::Needed("`path: my.txt`"),
                "a file, or a folder of files (at most 4 GiB)",
            ),
        ],
        "bytes, documents ignored; the last tenth is held out",
    ),
];
