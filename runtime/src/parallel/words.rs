//! What processes say to each other, as words of 32 bits: exact, whatever the numbers are.

use crate::ground::error::Failure;

/// Numbers as words.
pub fn of_numbers(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

/// Words as numbers.
pub fn to_numbers(words: &[u32]) -> Vec<f32> {
    words.iter().map(|x| f32::from_bits(*x)).collect()
}

/// A message that is being written.
#[derive(Clone, Debug, Default)]
pub struct Writer(pub Vec<u32>);

impl Writer {
    /// A number.
    pub fn whole(&mut self, x: u64) {
        self.0.extend([x as u32, (x >> 32) as u32]);
    }

    /// A number.
    pub fn real(&mut self, x: f64) {
        self.whole(x.to_bits());
    }

    /// Numbers, with how many they are.
    pub fn reals(&mut self, all: &[f64]) {
        self.whole(all.len() as u64);
        all.iter().for_each(|x| self.real(*x));
    }

    /// Words, with how many they are.
    pub fn words(&mut self, all: &[u32]) {
        self.whole(all.len() as u64);
        self.0.extend_from_slice(all);
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        let bytes: Vec<u32> = text.bytes().map(u32::from).collect();
        self.words(&bytes);
    }
}

/// A message that is being read, in the order in which it was written.
#[derive(Clone, Debug)]
pub struct Reader<'w>(pub &'w [u32]);

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Result<&[u32], Failure> {
        let short = || {
            Failure::World(
                "another process has said less than it should: is it another version?".into(),
            )
        };
        let (own, rest) = self.0.split_at_checked(count).ok_or_else(short)?;
        self.0 = rest;
        Ok(own)
    }

    /// See [`Writer::whole`].
    pub fn whole(&mut self) -> Result<u64, Failure> {
        let two = self.take(2)?;
        Ok(u64::from(two[0]) | u64::from(two[1]) << 32)
    }

    /// See [`Writer::real`].
    pub fn real(&mut self) -> Result<f64, Failure> {
        self.whole().map(f64::from_bits)
    }

    /// See [`Writer::reals`].
    pub fn reals(&mut self) -> Result<Vec<f64>, Failure> {
        (0..self.whole()?).map(|_| self.real()).collect()
    }

    /// See [`Writer::words`].
    pub fn words(&mut self) -> Result<Vec<u32>, Failure> {
        let count = self.whole()? as usize;
        Ok(self.take(count)?.to_vec())
    }

    /// See [`Writer::text`].
    pub fn text(&mut self) -> Result<String, Failure> {
        let bytes: Vec<u8> = self.words()?.iter().map(|word| *word as u8).collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        writer.real(f64::NAN);
        writer.reals(&[-0.0, 1e300]);
        writer.text("größer");
        writer.words(&of_numbers(&[f32::NEG_INFINITY, -0.0]));
        let mut reader = Reader(&writer.0);
        assert!(reader.real().unwrap().is_nan());
        assert_eq!(
            reader.reals().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            [(-0.0_f64).to_bits(), 1e300_f64.to_bits()]
        );
        assert_eq!(reader.text().unwrap(), "größer");
        assert_eq!(to_numbers(&reader.words().unwrap())[0], f32::NEG_INFINITY);
        assert!(reader.whole().is_err(), "nothing is left");
    }
}
