//! Which file an `$INCLUDE` in a zone file means.

use std::path::{Component, Path, PathBuf};

/// The file that an `$INCLUDE` means: relative to the file it stands in, and nowhere outside the folder of the zone file,
/// so that whoever may write a zone cannot have the server show other files.
pub(crate) fn place(root: &Path, including: &Path, written: &Path) -> Result<PathBuf, String> {
    let mut path = PathBuf::new();
    for part in including.with_file_name(written).components() {
        match part {
            Component::ParentDir if path.file_name().is_some() => {
                path.pop();
            }
            Component::CurDir => {}
            part => path.push(part),
        }
    }
    let is_down = |part| matches!(part, Component::Normal(_));
    let inside = path.strip_prefix(root);
    let inside = inside.is_ok_and(|inside| inside.components().all(is_down));
    // A link may lead anywhere.
    let real = |path: &Path| std::fs::canonicalize(Path::new(".").join(path));
    let leads_out = match (real(&path), real(root)) {
        (Ok(path), Ok(root)) => !path.starts_with(root),
        _ => false,
    };
    if inside && !leads_out {
        Ok(path)
    } else {
        Err("it is outside of the zone file's folder".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(root: &str, including: &str, written: &str, expected: Option<&str>) {
        let found = place(Path::new(root), Path::new(including), Path::new(written));
        let expected = expected.map(PathBuf::from);
        assert_eq!(found.ok(), expected, "{written} in {including}");
    }

    #[test]
    fn files_of_the_folder_are_meant_from_where_the_directive_stands() {
        check("z", "z/a.zone", "b.inc", Some("z/b.inc"));
        check("z", "z/below/b.inc", "c.inc", Some("z/below/c.inc"));
        check("z", "z/below/b.inc", "../c.inc", Some("z/c.inc"));
        check("/z", "/z/a.zone", "/z/./b.inc", Some("/z/b.inc"));
        check("", "a.zone", "b.inc", Some("b.inc"));
        check("", "a.zone", "src/lib.rs", Some("src/lib.rs"));
    }

    #[test]
    fn files_elsewhere_are_not_meant() {
        check("z", "z/a.zone", "../b.inc", None);
        check("z", "z/a.zone", "/z/b.inc", None);
        check("z", "z/a.zone", "../zz/b.inc", None);
        check("", "a.zone", "../b.inc", None);
        check("", "a.zone", "/etc/passwd", None);
    }

    #[test]
    fn a_link_that_leads_out_is_not_meant_also_without_a_folder() {
        // The folder is this crate's own: links in it that lead out, and one that does not.
        let inside = tempfile::tempdir_in(".").unwrap();
        let name = inside.path().file_name().unwrap().to_str().unwrap();
        let link = |target: &str, link: &str| {
            std::os::unix::fs::symlink(target, inside.path().join(link)).unwrap();
        };
        link("/etc/passwd", "out");
        link("../Cargo.toml", "in");
        check("", "a.zone", &format!("{name}/out"), None);
        let within = format!("{name}/in");
        check("", "a.zone", &within, Some(&within));
    }
}
