//! Decimal numbers as Python's `tokenizers` reads them.
//!
//! That library takes a score's digits as one whole number and divides it by a power of ten: two roundings, so that one
//! score in seven is the number beside the nearest one. Unigram models choose among ways to cut a text by sums of such
//! scores, and where ways tie the last bit decides. We read numbers to the nearest everywhere else; to cut texts as the
//! models' own tokenizers do, the scores of a file are rewritten to what that library makes of them.

/// A JSON text whose numbers with a point or an exponent are written as what Python's library makes of them; all else is as
/// it was. What is not sound JSON stays for who reads it next to refuse.
pub fn as_python_reads(json: &[u8]) -> Vec<u8> {
    let powers: Vec<f64> = (0..=308).map(|k| format!("1e{k}").parse().unwrap_or(1.0)).collect();
    let mut out = Vec::with_capacity(json.len());
    let (mut at, mut quoted) = (0, false);
    while let Some(&byte) = json.get(at) {
        let length = match byte {
            b'\\' if quoted => 2.min(json.len() - at),
            b'-' | b'0'..=b'9' if !quoted => {
                let part =
                    |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let length = json[at..].iter().take_while(|byte| part(byte)).count();
                if let Some(read) = read(&json[at..at + length], &powers) {
                    out.extend(format!("{read:?}").bytes());
                    at += length;
                    continue;
                }
                length
            }
            _ => 1,
        };
        quoted ^= byte == b'"';
        out.extend(&json[at..at + length]);
        at += length;
    }
    out
}

/// One number: the digits that fit 64 bits, times or divided by a power of ten. Nothing for whole numbers, which are exact,
/// and for what is no number or too large a one.
fn read(text: &[u8], powers: &[f64]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, power) = match digits.split_once(['e', 'E']) {
        Some((mantissa, power)) => (mantissa, Some(power)),
        None => (digits, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    fraction.or(power)?;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !fraction.is_none_or(digits) {
        return None;
    }
    let (mut value, mut exponent) = (0_u64, 0_i32);
    let more = |value: u64, digit: u8| value.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    let mut rest = whole.bytes();
    for digit in rest.by_ref() {
        match more(value, digit) {
            Some(grown) => value = grown,
            None => {
                exponent = 1;
                break;
            }
        }
    }
    exponent += i32::try_from(rest.len()).ok()?;
    for digit in fraction.unwrap_or_default().bytes() {
        let Some(grown) = more(value, digit) else { break };
        (value, exponent) = (grown, exponent - 1);
    }
    let exponent = exponent.saturating_add(power.map_or(Some(0), |power| power.parse().ok())?);
    let scaled = scale(value as f64, exponent, powers);
    scaled.is_finite().then_some(if negative { -scaled } else { scaled })
}

fn scale(mut value: f64, mut exponent: i32, powers: &[f64]) -> f64 {
    let largest = powers.len() as i32 - 1;
    while exponent < -largest && value != 0.0 {
        value /= powers[largest as usize];
        exponent += largest;
    }
    match powers.get(exponent.unsigned_abs() as usize) {
        Some(power) if exponent >= 0 => value * power,
        Some(power) => value / power,
        None if value == 0.0 => 0.0,
        None => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(text: &str) -> String {
        String::from_utf8(as_python_reads(text.as_bytes())).unwrap()
    }

    #[test]
    fn numbers_are_those_of_pythons_library() {
        // Printed by tokenizers 0.23.3 for these scores of a Unigram model.
        let cases = [
            ("-0.43561181362301915", -0.4356118136230191),
            ("-12.563669634938593", -12.563669634938591),
            ("-9.634415443986683", -9.634415443986684),
            ("-9.432343482971191", -9.432343482971191),
            ("0.1", 0.1),
            ("-1e-7", -1e-07),
            ("-3.0517578125e-05", -3.0517578125e-05),
            ("-1.2345678901234567890123", -1.2345678901234567),
            ("-184467440737095516150.5", -1.844674407370955e+20),
            ("-18446744073709551616.25e-3", -1.844674407370955e+16),
            ("-1.7976931348623157e308", -1.7976931348623157e+308),
            ("-4.9406564584124654e-320", -4.9407e-320),
            ("-2.2250738585072014e-308", -2.2250738585072014e-308),
            ("-0.0", -0.0),
            ("-123456789012345678901234567890e2", -1.2345678901234567e+31),
            ("-5e-330", -0.0),
            ("1.5E+3", 1500.0),
            ("-7.0000000000000007e-310", -7e-310),
        ];
        for (text, python) in cases {
            let found: f64 = rewritten(text).parse().unwrap();
            assert_eq!(found.to_bits(), f64::to_bits(python), "{text}: {found:?} for {python:?}");
        }
    }

    #[test]
    fn all_else_is_as_it_was() {
        for text in [
            r#"{"a \" 0.43561181362301915": [12, -7, true, null], "b\\": "1e5"}"#,
            "1e999",
            "-",
            "1.e5",
            ".5",
            "1.5.5",
            "1e",
            "\"open \\",
            "12345678901234567890123",
        ] {
            assert_eq!(rewritten(text), text);
        }
        assert_eq!(rewritten(r#"["x\\",1.50e1,"1.50"]"#), r#"["x\\",15.0,"1.50"]"#);
    }
}
