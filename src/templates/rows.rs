//! Tables of variables: CSV with a header, or JSON lines.

use std::path::{Component, Path};

use serde_json::{Map, Value};

use super::TemplateError;

/// Reads the rows of a table that a list names; it lies in the list's folder or below.
///
/// # Errors
/// Names the table and the line at fault.
pub(super) fn read(list: &Path, name: &str) -> Result<Vec<Map<String, Value>>, TemplateError> {
    let inside = |component| matches!(component, Component::Normal(_) | Component::CurDir);
    if !Path::new(name).components().all(inside) {
        return Err(TemplateError::at(
            list,
            format_args!("rows = \"{name}\""),
            "a table lies in the folder of the list or below it",
        ));
    }
    let folder = list.parent().unwrap_or(Path::new(""));
    let file = folder.join(name);
    let unreadable = |error: std::io::Error| TemplateError::of(&file, format!("cannot be read: {error}"));
    // A link may lead out of the folder.
    let (real, home) = (file.canonicalize().map_err(unreadable)?, absolute(folder).map_err(unreadable)?);
    if !real.starts_with(home) {
        return Err(TemplateError::of(&file, "leads out of the folder of the list"));
    }
    let text = std::fs::read_to_string(&real).map_err(unreadable)?;
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => of_csv(&file, &text),
        Some("jsonl" | "ndjson") => of_json(&file, &text),
        _ => Err(TemplateError::of(&file, "is no table that is known: `.csv` and `.jsonl` are")),
    }
}

fn absolute(folder: &Path) -> std::io::Result<std::path::PathBuf> {
    if folder.as_os_str().is_empty() { Path::new(".").canonicalize() } else { folder.canonicalize() }
}

fn of_csv(file: &Path, text: &str) -> Result<Vec<Map<String, Value>>, TemplateError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut table = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    // Its own message names line and record.
    let wrong = |error: csv::Error| TemplateError::of(file, error.to_string());
    let header = table.headers().map_err(wrong)?.clone();
    let row = |record: Result<csv::StringRecord, csv::Error>| {
        let record = record.map_err(wrong)?;
        let cells = header.iter().zip(record.iter());
        Ok(cells.map(|(name, cell)| (name.to_owned(), Value::from(cell))).collect())
    };
    table.records().map(row).collect()
}

fn of_json(file: &Path, text: &str) -> Result<Vec<Map<String, Value>>, TemplateError> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let row = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| {
            TemplateError::at(
                file,
                format_args!("line {number}"),
                format!("expected an object of JSON: {error}"),
            )
        })
    };
    lines.map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_table_is_csv_or_json_lines() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list.toml");
        fs::write(folder.path().join("a.csv"), "\u{feff}name, price\n\"Lamp, tall\",19\n").unwrap();
        fs::write(folder.path().join("b.jsonl"), "{\"name\": \"Lamp\", \"sizes\": [1, 2]}\n").unwrap();
        let rows = read(&list, "a.csv").unwrap();
        assert_eq!((rows[0]["name"].as_str(), rows[0]["price"].as_str()), (Some("Lamp, tall"), Some("19")));
        assert_eq!(read(&list, "./b.jsonl").unwrap()[0]["sizes"][1], 2);
    }

    #[test]
    fn a_broken_row_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list.toml");
        fs::write(folder.path().join("a.csv"), "name,price\nLamp,19\nDesk\n").unwrap();
        fs::write(folder.path().join("b.jsonl"), "{}\n3\n").unwrap();
        assert!(read(&list, "a.csv").unwrap_err().to_string().contains("line: 3"));
        assert!(read(&list, "b.jsonl").unwrap_err().to_string().contains("line 2"));
        assert!(read(&list, "c.csv").unwrap_err().to_string().contains("cannot be read"));
    }

    #[test]
    fn no_table_lies_outside_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("lists");
        fs::create_dir(&inner).unwrap();
        fs::write(folder.path().join("secret.csv"), "a\n1\n").unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret.csv"), inner.join("link.csv")).unwrap();
        let list = inner.join("list.toml");
        for name in ["../secret.csv", "/etc/passwd", "link.csv"] {
            assert!(read(&list, name).unwrap_err().to_string().contains("folder of the list"), "{name}");
        }
    }
}
