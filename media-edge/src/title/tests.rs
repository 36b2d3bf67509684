//! Titles are made from every kind of input, and ffmpeg, a stranger, agrees with what is in them.

use std::io::BufReader;
use std::path::Path;
use std::process::Command;

use mdc::title::Description;

use super::*;

fn quick() -> Settings {
    Settings {
        quantizer: Some(34),
        ..Settings::default()
    }
}

#[test]
fn the_pattern_becomes_a_title_whose_files_read_back() {
    let out = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let created = create("pattern:160x96@15:2s", out.path(), &quick(), |p| {
        seen.push(p)
    })
    .unwrap();
    assert_eq!(created.folder, out.path().join("pattern"));
    assert_eq!(
        seen.last(),
        Some(&Progress {
            frames: 30,
            total: Some(30)
        })
    );
    let text = std::fs::read_to_string(created.folder.join("title.toml")).unwrap();
    let manifest = Manifest::parse(&text).unwrap();
    assert_eq!(manifest, created.manifest);
    let timing = manifest.timing().unwrap();
    for (d, stream) in (0u8..).zip(&manifest.descriptions) {
        let file = std::fs::read(created.folder.join(&stream.file)).unwrap();
        let description = Description::read(&file, &timing, d, manifest.payload_limit).unwrap();
        assert_eq!(description.frames.len(), 15);
    }
    let left = std::fs::read_dir(out.path()).unwrap().count();
    assert_eq!(left, 1, "only the title is left in the output folder");
}

#[test]
fn a_y4m_file_is_read_without_ffmpeg() {
    let out = tempfile::tempdir().unwrap();
    let header = mdc::y4m::Header {
        width: 64,
        height: 48,
        fps: (10, 1),
    };
    let mut writer = mdc::y4m::Writer::new(Vec::new(), header).unwrap();
    (0..6).for_each(|k| writer.write(&mdc::pattern::picture(k, 64, 48)).unwrap());
    let path = out.path().join("Sea Side.y4m");
    std::fs::write(&path, writer.finish().unwrap()).unwrap();
    let created = create(path.to_str().unwrap(), out.path(), &quick(), |_| {}).unwrap();
    assert_eq!(
        (created.manifest.name.as_str(), created.manifest.frames),
        ("Sea-Side", 6)
    );
}

#[test]
fn an_existing_title_is_replaced_only_when_told_to() {
    let out = tempfile::tempdir().unwrap();
    let make = |seconds: u32, settings: &Settings| {
        create(
            &format!("pattern:64x48@10:{seconds}s"),
            out.path(),
            settings,
            |_| {},
        )
    };
    make(1, &quick()).unwrap();
    assert!(
        make(2, &quick())
            .unwrap_err()
            .to_string()
            .contains("exists")
    );
    let replaced = make(
        2,
        &Settings {
            replace: true,
            ..quick()
        },
    )
    .unwrap();
    assert_eq!(replaced.manifest.frames, 20);
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 1);
}

#[test]
fn failures_leave_nothing_behind() {
    let out = tempfile::tempdir().unwrap();
    let empty = out.path().join("empty.y4m");
    std::fs::write(&empty, "YUV4MPEG2 W64 H48 F10:1\n").unwrap();
    for input in [
        empty.to_str().unwrap(),
        "/nowhere/at-all.y4m",
        "pattern:0x0@1:1s",
        "pattern:nonsense",
    ] {
        assert!(
            create(input, out.path(), &quick(), |_| {}).is_err(),
            "{input}"
        );
    }
    let bad_name = Settings {
        name: Some("../x".into()),
        ..quick()
    };
    assert!(create("pattern:64x48@10:1s", out.path(), &bad_name, |_| {}).is_err());
    assert_eq!(
        std::fs::read_dir(out.path()).unwrap().count(),
        1,
        "only empty.y4m"
    );
}

#[test]
fn any_video_and_its_sound_come_in_through_ffmpeg() {
    if !ffmpeg::tools_for_test() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let clip = out.path().join("clip.mkv");
    let lavfi = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=161x97:r=25:d=2",
        "-f",
        "lavfi",
        "-i",
        "sine=d=2",
    ];
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error"])
        .args(lavfi)
        .arg(&clip)
        .status()
        .unwrap();
    assert!(made.success());
    let created = create(clip.to_str().unwrap(), out.path(), &quick(), |_| {}).unwrap();
    let manifest = &created.manifest;
    assert_eq!(
        (manifest.width, manifest.height, manifest.fps),
        (160, 96, (25, 1))
    );
    assert_eq!(
        (manifest.frames, manifest.audio.as_ref().map(|a| a.rate)),
        (50, Some(44_100))
    );
    for (d, stream) in (0u8..).zip(&manifest.descriptions) {
        let path = created.folder.join(&stream.file);
        let file = std::fs::read(&path).unwrap();
        let timing = manifest.timing().unwrap();
        let description = Description::read(&file, &timing, d, manifest.payload_limit).unwrap();
        let audio = description.audio.unwrap();
        let last = audio.samples.last().unwrap();
        assert!(
            (last.time - 2 * 44_100).abs() < 2_048,
            "sound ends at {}",
            last.time
        );
        let decoded = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-i"])
            .arg(&path)
            .args(["-f", "null", "-"])
            .output()
            .unwrap();
        assert!(
            decoded.status.success() && decoded.stderr.is_empty(),
            "{decoded:?}"
        );
    }
}

#[test]
fn a_file_that_is_no_video_gives_ffmpegs_reason() {
    if !ffmpeg::tools_for_test() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("letter.mp4");
    std::fs::write(&path, "Dear editor,").unwrap();
    let error = create(path.to_str().unwrap(), out.path(), &quick(), |_| {}).unwrap_err();
    assert!(format!("{error:#}").contains("ffmpeg"), "{error:#}");
}

/// Output of a command-line tool that has to succeed without a word of complaint.
fn run(program: &str, before: &[&str], path: &Path, after: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(before)
        .arg(path)
        .args(after)
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{program}: {output:?}"
    );
    output.stdout
}

#[test]
fn ffmpeg_decodes_each_description_alone_with_the_same_frames_and_times() {
    if !ffmpeg::tools_for_test() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let settings = Settings {
        bitrate: Some(300_000),
        ..Settings::default()
    };
    let created = create("pattern:320x180@30:5s", out.path(), &settings, |_| {}).unwrap();
    let timing = created.manifest.timing().unwrap();
    for (d, stream) in (0u8..).zip(&created.manifest.descriptions) {
        let path = created.folder.join(&stream.file);
        let file = std::fs::read(&path).unwrap();
        let description = Description::read(&file, &timing, d, 1_200).unwrap();
        let numbers: Vec<_> = description.frames.iter().map(|f| f.number).collect();

        let decode = ["-nostdin", "-v", "error", "-i"];
        let y4m = ["-fps_mode", "passthrough", "-f", "yuv4mpegpipe", "-"];
        let decoded = run("ffmpeg", &decode, &path, &y4m);
        let reader = mdc::y4m::Reader::new(BufReader::new(decoded.as_slice())).unwrap();
        let stamps: Vec<_> = reader
            .map(|p| mdc::stamp::read(&p.unwrap()).unwrap())
            .collect();
        assert_eq!(stamps, numbers);

        let probe = [
            "-v",
            "error",
            "-select_streams",
            "v",
            "-of",
            "csv=p=0",
            "-show_entries",
        ];
        let entries = [&probe[..], &["packet=pts,flags"]].concat();
        let listed = String::from_utf8(run("ffprobe", &entries, &path, &[])).unwrap();
        let listed: Vec<_> = listed.lines().filter_map(|l| l.split_once(',')).collect();
        let times: Vec<u64> = listed.iter().map(|(pts, _)| pts.parse().unwrap()).collect();
        assert_eq!(
            times,
            description
                .frames
                .iter()
                .map(|f| f.rtp_time)
                .collect::<Vec<_>>()
        );
        let keys: Vec<_> = listed
            .iter()
            .map(|(_, flags)| flags.starts_with('K'))
            .collect();
        assert_eq!(
            keys,
            description.frames.iter().map(|f| f.idr).collect::<Vec<_>>()
        );

        let entries = [&probe[..], &["stream=has_b_frames,refs"]].concat();
        assert_eq!(run("ffprobe", &entries, &path, &[]).trim_ascii(), b"0,1");
    }
}
