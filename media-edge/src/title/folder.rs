//! Writing a title so that it appears whole or not at all: aside, synced, renamed.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use mdc::split::Title;
use mdc::title::is_title_name;

/// A title folder in the making; removed when dropped before [`Target::write`] is done.
pub(super) struct Target {
    out: PathBuf,
    place: PathBuf,
    aside: PathBuf,
    replace: bool,
}

impl Target {
    /// Creates `out` and a folder aside in it; refuses a name that is taken, unless `replace`.
    pub(super) fn prepare(out: &Path, name: &str, replace: bool) -> anyhow::Result<Target> {
        ensure!(
            is_title_name(name),
            "{name:?} is not a title name (letters, digits, `-`, `_`, `.`)"
        );
        let place = out.join(name);
        let taken = place.symlink_metadata().is_ok();
        ensure!(
            replace || !taken,
            "{} exists; replace it or choose another name",
            place.display()
        );
        let aside = out.join(format!(".{name}.new-{}", std::process::id()));
        let _ = fs::remove_dir_all(&aside); // of an earlier process with our id
        fs::create_dir_all(&aside).with_context(|| format!("cannot create {}", aside.display()))?;
        Ok(Target {
            out: out.to_path_buf(),
            place,
            aside,
            replace,
        })
    }

    /// Writes the files and renames the folder into place; gives the title's folder.
    pub(super) fn write(self, title: &Title) -> anyhow::Result<PathBuf> {
        for (stream, bytes) in title.manifest.descriptions.iter().zip(&title.files) {
            self.write_file(&stream.file, bytes)?;
        }
        self.write_file("title.toml", title.manifest.to_toml().as_bytes())?;
        let old = self.out.join(format!(
            ".{}.old-{}",
            title.manifest.name,
            std::process::id()
        ));
        if self.replace && self.place.symlink_metadata().is_ok() {
            fs::rename(&self.place, &old)
                .with_context(|| format!("cannot replace {}", self.place.display()))?;
        }
        fs::rename(&self.aside, &self.place)
            .with_context(|| format!("cannot create {}", self.place.display()))?;
        let _ = File::open(&self.out).and_then(|folder| folder.sync_all());
        let _ = fs::remove_dir_all(&old);
        Ok(self.place.clone())
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.aside.join(name);
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.aside);
    }
}
