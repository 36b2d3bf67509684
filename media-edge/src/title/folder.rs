//! Writing a title so that it appears whole or not at all: aside, synced, renamed.
//!
//! Coded frames are spooled to a file per description while they come, as the head of an MP4 can
//! be written only when all of them are known; so memory does not grow with the length of the video.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use mdc::mp4::{self, AudioTrack};
use mdc::split::Outline;
use mdc::title::is_title_name;

/// A title folder in the making; removed when dropped before [`Target::write`] is done.
pub(super) struct Target {
    out: PathBuf,
    place: PathBuf,
    aside: PathBuf,
    replace: bool,
    spools: Vec<BufWriter<File>>,
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
            spools: Vec::new(),
        })
    }

    /// Keeps the octets of a description's next frame.
    pub(super) fn spool(&mut self, description: u8, octets: &[u8]) -> anyhow::Result<()> {
        let description = usize::from(description);
        while self.spools.len() <= description {
            let path = self.spool_path(self.spools.len());
            let file = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path);
            let file = file.with_context(|| format!("cannot create {}", path.display()))?;
            self.spools.push(BufWriter::new(file));
        }
        let spool = self
            .spools
            .get_mut(description)
            .context("no such description")?;
        spool
            .write_all(octets)
            .with_context(|| format!("cannot write to {}", self.aside.display()))
    }

    /// Writes the files and renames the folder into place; gives the title's folder.
    pub(super) fn write(
        mut self,
        outline: &Outline,
        audio: Option<&AudioTrack>,
    ) -> anyhow::Result<PathBuf> {
        let spools = std::mem::take(&mut self.spools);
        let tracks = outline.manifest.descriptions.iter().zip(&outline.tracks);
        for (number, ((stream, track), spool)) in tracks.zip(spools).enumerate() {
            let mut data = spool.into_inner().map_err(io::IntoInnerError::into_error)?;
            data.rewind()?;
            let mut data = BufReader::new(data);
            self.write_file(&stream.file, |out| {
                Ok(mp4::write(track, &mut data, audio, out)?)
            })?;
            fs::remove_file(self.spool_path(number))?;
        }
        let text = outline.manifest.to_toml();
        self.write_file("title.toml", |out| Ok(out.write_all(text.as_bytes())?))?;
        self.rename(&outline.manifest.name)
    }

    fn rename(&self, name: &str) -> anyhow::Result<PathBuf> {
        let place = self.place.display();
        let old = self.out.join(format!(".{name}.old-{}", std::process::id()));
        if self.replace && self.place.symlink_metadata().is_ok() {
            fs::rename(&self.place, &old).with_context(|| format!("cannot replace {place}"))?;
        }
        fs::rename(&self.aside, &self.place).with_context(|| format!("cannot create {place}"))?;
        let _ = File::open(&self.out).and_then(|folder| folder.sync_all());
        let _ = fs::remove_dir_all(&old);
        Ok(self.place.clone())
    }

    fn write_file(
        &self,
        name: &str,
        fill: impl FnOnce(&mut BufWriter<File>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let path = self.aside.join(name);
        let write = || -> anyhow::Result<()> {
            let mut file = BufWriter::new(File::create(&path)?);
            fill(&mut file)?;
            file.into_inner()
                .map_err(io::IntoInnerError::into_error)?
                .sync_all()?;
            Ok(())
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    fn spool_path(&self, description: usize) -> PathBuf {
        self.aside.join(format!("d{description}.spool"))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.aside);
    }
}
