//! Texts as editors save them.

/// Bytes of a text without the byte order mark that some editors put before it; or what they are instead: UTF-16 begins with
/// another mark.
pub fn unmarked(bytes: &[u8]) -> Result<&[u8], &'static str> {
    match bytes {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
            Err("a text in UTF-16: make it UTF-8, as with `iconv -f UTF-16 -t UTF-8`")
        }
        [0xEF, 0xBB, 0xBF, rest @ ..] => Ok(rest),
        rest => Ok(rest),
    }
}

/// The text of a file's bytes, without a byte order mark; or what they are instead.
pub fn plain(bytes: Vec<u8>) -> Result<String, &'static str> {
    let marked = bytes.len() - unmarked(&bytes)?.len();
    let mut text = String::from_utf8(bytes).map_err(|_| "not UTF-8 text")?;
    text.drain(..marked.min(text.len()));
    Ok(text)
}
