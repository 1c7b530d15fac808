//! Reading what `/proc` and `/sys` say.

use std::path::Path;

/// A file's text, trimmed; `None` where there is none.
pub fn line(path: impl AsRef<Path>) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

/// A field of `/proc/meminfo`: bytes where it is in kB, else as it is.
pub fn meminfo(name: &str) -> Option<u64> {
    field_of_meminfo(&line("/proc/meminfo")?, name)
}

fn field_of_meminfo(text: &str, name: &str) -> Option<u64> {
    let mut words = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.split_whitespace();
    let value: u64 = words.next()?.parse().ok()?;
    Some(if words.next() == Some("kB") { value << 10 } else { value })
}

/// The word in brackets: what is chosen of `always [madvise] never`.
pub fn chosen(text: &str) -> Option<String> {
    Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
}

/// The first field `name` of `/proc/cpuinfo`.
pub fn field_of_cpuinfo<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.map(|(field, value)| (field.trim(), value.trim())).find(|(field, _)| *field == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let text = "MemTotal:       24571236 kB\nMemTotalX: 1 kB\nHugePages_Total:      12\nHugetlb:   junk\n";
        assert_eq!(field_of_meminfo(text, "MemTotal"), Some(24_571_236 << 10));
        assert_eq!(field_of_meminfo(text, "HugePages_Total"), Some(12));
        assert_eq!(field_of_meminfo(text, "Hugetlb"), None);
        assert_eq!(field_of_meminfo(text, "Hug"), None);
        assert_eq!(chosen("always [madvise] never").as_deref(), Some("madvise"));
        assert_eq!(chosen("never"), None);
        let text = "processor\t: 0\nmodel\t\t: 167\nmodel name\t: A: B\n\nprocessor\t: 1\nmodel\t\t: 168\n";
        assert_eq!(field_of_cpuinfo(text, "model"), Some("167"));
        assert_eq!(field_of_cpuinfo(text, "model name"), Some("A: B"));
        assert_eq!(field_of_cpuinfo(text, "flags"), None);
    }
}
