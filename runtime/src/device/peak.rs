//! What makers say that their devices compute at most.

/// Of an A100, for which times are modelled too; likewise the next.
pub(super) const A100: f64 = 312.0;
/// Of an H100.
pub(super) const H100: f64 = 989.0;

/// Dense products of bf16 with sums of f32, in tera-operations a second and without sparsity, by NVIDIA's data sheets: the
/// words of a name, of which the longest that fit count.
const STATED: [(&[&str], f64); 13] = [
    (&["A10"], 125.0),
    (&["A30"], 165.0),
    (&["A40"], 149.7),
    (&["A100"], A100),
    (&["L4"], 121.0),
    (&["L40"], 181.0),
    (&["L40S"], 362.0),
    (&["H100"], H100),
    (&["H100", "PCIe"], 756.0),
    (&["H100", "NVL"], 835.0),
    (&["H200"], H100),
    (&["GH200"], H100),
    (&["B200"], 2250.0),
];

/// Operations a second of a device of this name; nothing where nobody has stated them here.
pub fn stated(name: &str) -> Option<f64> {
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let fits = |all: &[&str]| all.iter().all(|one| words.contains(one));
    let known = STATED.iter().filter(|(all, _)| fits(all)).max_by_key(|(all, _)| all.len());
    known.map(|(_, tera)| tera * 1e12)
}

#[cfg(test)]
mod tests {
    use super::stated;

    #[test]
    fn names_as_drivers_give_them() {
        let found = |name| stated(name).map(|peak| peak / 1e12);
        assert_eq!(found("NVIDIA H100 80GB HBM3"), Some(989.0));
        assert_eq!(found("NVIDIA H100 PCIe"), Some(756.0));
        assert_eq!(found("NVIDIA A100-SXM4-80GB"), Some(312.0));
        assert_eq!(found("NVIDIA L40S"), Some(362.0));
        // It computes less than its name begins.
        assert_eq!(found("NVIDIA A10G"), None);
        assert_eq!(found("NVIDIA H20"), None);
    }
}
