//! The tokenizer of a run as files that `AutoTokenizer` reads.

use serde_json::{Map, Value as Json, json};

use crate::data::codec::TextCodec;
use crate::data::tokenizer::Tokenizer;
use crate::ground::error::Failure;

/// What ends a document of bytes.
const END: &str = "<|endoftext|>";

/// Names and texts of files; nothing where tokens stand for no text.
pub fn files(codec: &TextCodec) -> Result<Option<Vec<(&'static str, String)>>, Failure> {
    let (mut file, ends) = match codec {
        TextCodec::Numbers => return Ok(None),
        TextCodec::Bytes => (bytes(), None),
        TextCodec::Documents(tokenizer) => {
            let file = match tokenizer.text()? {
                Some(text) => serde_json::from_str(&text)
                    .map_err(|why| Failure::World(format!("the tokenizer is no JSON: {why}")))?,
                None => with_end(bytes()),
            };
            (file, Some(&**tokenizer))
        }
    };
    let mut config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "padding_side": "left",
        "clean_up_tokenization_spaces": false,
        // The text of a special token inside a document is text.
        "split_special_tokens": true, "model_input_names": ["input_ids", "attention_mask"],
    });
    if let Some((tokenizer, name)) = ends.and_then(|all| Some((all, token(&file, all.end())?))) {
        for role in ["bos_token", "eos_token", "pad_token"] {
            config[role] = name.clone().into();
        }
        if tokenizer.around().is_empty() {
            begins_with(&mut file, &name, tokenizer.begin().first().copied());
        }
    }
    Ok(Some(vec![
        ("tokenizer.json", file.to_string()),
        ("tokenizer_config.json", config.to_string()),
    ]))
}

/// The text of a token.
fn token(file: &Json, number: u32) -> Option<String> {
    let added = file["added_tokens"].as_array()?;
    let found = added.iter().find(|token| token["id"] == number)?;
    found["content"].as_str().map(str::to_string)
}

/// Has texts begin as those did that the model was trained on: with the token between documents.
fn begins_with(file: &mut Json, name: &str, number: Option<u32>) {
    let Some(number) = number else { return };
    let begin = json!({ "SpecialToken": { "id": name, "type_id": 0 } });
    let text = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
    let template = json!({
        "type": "TemplateProcessing", "single": [begin, text("A")], "pair": [begin, text("A"), text("B")],
        "special_tokens": { name: { "id": name, "ids": [number], "tokens": [name] } },
    });
    let before = file["post_processor"].take();
    file["post_processor"] = match before {
        Json::Null => template,
        before => json!({ "type": "Sequence", "processors": [before, template] }),
    };
}

/// Every byte a token, by the characters that byte-level tokenizers write bytes as (GPT-2).
fn bytes() -> Json {
    let plain = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut others = 256..;
    let vocab: Map<String, Json> = (0..256)
        .map(|byte| {
            let code = if plain(byte) { byte } else { others.next().unwrap_or(byte) };
            (char::from_u32(code).unwrap_or_default().to_string(), byte.into())
        })
        .collect();
    let level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": level, "post_processor": null, "decoder": level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": [],
        },
    })
}

/// The same with a token between documents.
fn with_end(mut file: Json) -> Json {
    file["added_tokens"] = json!([{
        "id": Tokenizer::Bytes.end(), "content": END, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true,
    }]);
    file
}
