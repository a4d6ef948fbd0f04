//! The limits in docs/policies.md are those of the sources.

use std::path::Path;

/// `12`, `1 << 20`, `64 * 1024`, `31 * 24 * 3600 * 1000`.
fn value(expression: &str) -> Option<u64> {
    let number = |text: &str| text.trim().replace('_', "").parse::<u64>().ok();
    if let Some((base, shift)) = expression.split_once("<<") {
        return number(base)?.checked_shl(u32::try_from(number(shift)?).ok()?);
    }
    expression.split('*').map(number).product()
}

/// The value of a constant, found by its name in the text of its file.
fn constant(source: &str, name: &str) -> Option<u64> {
    let line = source
        .lines()
        .find(|line| line.contains(&format!("const {name}: ")))?;
    value(line.split_once('=')?.1.trim_end_matches(';'))
}

#[test]
fn the_documented_limits_are_the_constants() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("../../docs/policies.md")).expect("the page");
    let mut rows = 0;
    for line in page
        .lines()
        .filter(|line| line.starts_with("| `") && line.contains(".rs` `"))
    {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (file, name) = cells[1]
            .trim_matches('`')
            .split_once("` `")
            .expect("a file and a name");
        let source = std::fs::read_to_string(root.join("src").join(file))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        let found = constant(&source, name).unwrap_or_else(|| panic!("{file} has no {name}"));
        assert_eq!(cells[2], found.to_string(), "{file}: {name}");
        rows += 1;
    }
    assert!(rows > 30, "{rows} rows");
}

#[test]
fn expressions_are_read() {
    for (text, expected) in [
        ("16", 16),
        (" 65_536", 65_536),
        ("4 << 20", 4 << 20),
        ("31 * 24 * 3600", 31 * 24 * 3600),
    ] {
        assert_eq!(value(text), Some(expected), "{text}");
    }
    assert_eq!(value("OTHER"), None);
}
