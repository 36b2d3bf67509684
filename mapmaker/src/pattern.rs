//! File names with `*`: `run/*/measurements.csv` are the reports of every edge on this machine.

use std::path::{Component, Path, PathBuf};

/// The files that a pattern names now, in order. A path without `*` names itself, whether it is there or not.
pub fn files(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    let mut starred = false;
    for component in pattern.components() {
        let name = component.as_os_str().to_string_lossy();
        if !matches!(component, Component::Normal(_)) || !name.contains('*') {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        }
        starred = true;
        found = found
            .iter()
            .flat_map(|folder| matching(folder, &name))
            .collect();
    }
    found.retain(|path| !starred || path.is_file());
    found.sort();
    found
}

fn matching(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let folder_read = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let Ok(entries) = std::fs::read_dir(folder_read) else {
        return Vec::new();
    };
    let names = entries
        .filter_map(Result::ok)
        .map(|entry| entry.file_name());
    let matched = names.filter(|name| matches(pattern, &name.to_string_lossy()));
    matched.map(|name| folder.join(name)).collect()
}

/// Whether a name fits a pattern in which `*` stands for any characters; a hidden file needs its dot.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|head| name.strip_prefix(head)) else {
        return false;
    };
    let Some(tail) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or("");
    }
    rest.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, expected) in [
            ("*.csv", "a.csv", true),
            ("*.csv", ".csv", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("a*a", "a", false),
            ("edge-*", "edge-7", true),
            ("plain", "plain", true),
            ("plain", "plainer", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_name_files_in_order_and_plain_paths_themselves() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a", "c"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        for name in ["a", "b"] {
            std::fs::write(dir.path().join(name).join("m.csv"), "").unwrap();
        }
        let found = files(&dir.path().join("*/m.csv"));
        assert_eq!(
            found,
            [dir.path().join("a/m.csv"), dir.path().join("b/m.csv")]
        );
        assert_eq!(
            files(Path::new("/no/such/file")),
            [PathBuf::from("/no/such/file")]
        );
    }
}
