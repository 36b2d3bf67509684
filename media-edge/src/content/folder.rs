//! A title in the titles folder: its files stay open and frames are read from them one by one.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, ensure};
use mdc::title::{Description, Manifest};

use super::{FrameData, Store, Title};

/// Largest description file read, octets: the index is made from the whole file, in memory, once.
const FILE_OCTETS_MAX: u64 = 4 << 30;

/// The open files of a title's descriptions.
#[derive(Debug)]
pub(super) struct Files(Vec<File>);

impl Files {
    /// Reads one frame; the page cache makes this a copy of a few kilobytes.
    pub(super) fn read(
        &self,
        description: u8,
        index: &Description,
        at: usize,
    ) -> Option<FrameData> {
        let frame = index.frames.get(at)?;
        let mut data = vec![0; usize::try_from(frame.size).ok()?];
        let file = self.0.get(usize::from(description))?;
        file.read_exact_at(&mut data, frame.offset).ok()?;
        Some(data.into())
    }
}

/// Opens the title in `folder`. Reads every file whole to index it, so call it where blocking is allowed.
pub(super) fn open(folder: &Path) -> anyhow::Result<Title> {
    let path = folder.join("title.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let manifest =
        Manifest::parse(&text).with_context(|| format!("{} is no title", path.display()))?;
    let named = folder
        .file_name()
        .is_some_and(|name| name == manifest.name.as_str());
    ensure!(
        named,
        "{} names another title: {}",
        path.display(),
        manifest.name
    );
    let timing = manifest.timing()?;
    let mut descriptions = Vec::new();
    let mut files = Vec::new();
    for (number, stream) in manifest.descriptions.iter().enumerate() {
        let path = folder.join(&stream.file);
        let file =
            File::open(&path).with_context(|| format!("{} cannot be opened", path.display()))?;
        let octets = file.metadata()?.len();
        ensure!(
            octets <= FILE_OCTETS_MAX,
            "{} is larger than 4 GiB",
            path.display()
        );
        let bytes = fs::read(&path)?;
        let number = u8::try_from(number)?;
        let index = Description::read(&bytes, &timing, number, manifest.payload_limit)
            .with_context(|| format!("{} is no description", path.display()))?;
        descriptions.push(index);
        files.push(file);
    }
    Ok(Title::new(
        manifest,
        descriptions,
        Store::Folder(Files(files)),
    ))
}
