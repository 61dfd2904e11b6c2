//! What the disk has below the folder, opened without side effects. All functions but [`known_missing`] may wait for the
//! disk.

use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What a name stands for.
#[derive(Debug)]
pub(super) enum Found {
    File(Located),
    Directory,
}

/// A regular file below the root, not opened yet.
#[derive(Debug)]
pub(super) struct Located {
    path: PathBuf,
    metadata: Metadata,
}

/// A regular file, with the metadata of what was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) metadata: Metadata,
}

/// Looks for a relative name. `root` has no symbolic links in it.
pub(super) fn find(root: &Path, name: &Path) -> Option<Found> {
    // Resolved, so that a symbolic link cannot lead out of the folder. A link that stays inside may lead to a hidden name:
    // it was put there on purpose, and volumes of Kubernetes are made of such links.
    let path = root.join(name).canonicalize().ok()?;
    if !path.starts_with(root) {
        return None;
    }
    let metadata = path.metadata().ok()?;
    if metadata.is_dir() {
        return Some(Found::Directory);
    }
    // To open a FIFO or a device can wait for ever, and have effects.
    metadata.is_file().then_some(Found::File(Located { path, metadata }))
}

impl Located {
    /// In whole seconds, as some compressors copy no more of a time than that.
    pub(super) fn is_older_than(&self, other: &Located) -> bool {
        self.metadata.mtime() < other.metadata.mtime()
    }

    /// `None` if it cannot be read, or is something else by now.
    pub(super) fn open(&self) -> Option<Opened> {
        // Should it have been replaced since it was found: no link is followed, no FIFO waited for.
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&self.path);
        let file = opened.inspect_err(|error| log::debug!("cannot open {}: {error}", self.path.display())).ok()?;
        let metadata = file.metadata().ok()?;
        metadata.is_file().then_some(Opened { file, metadata })
    }
}

/// Opens a regular file; also says how long it is. Nothing else is opened: to open a FIFO can wait for ever, and to open
/// a device can have effects. `None` also for a file whose length is not known, as those of /proc.
pub fn open_regular(path: &Path) -> Option<(File, u64)> {
    path.metadata().ok().filter(Metadata::is_file)?;
    // Should it have been replaced by a FIFO since then, that is not waited for.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    let length = file.metadata().ok().filter(Metadata::is_file)?.len();
    let known = length > 0 || file.read_at(&mut [0], 0).is_ok_and(|read| read == 0);
    known.then_some((file, length))
}

/// Whether nothing has this name, as far as the kernel remembers: this does not wait for the disk. It tells most requests
/// for the app from requests for files, and costs much less than a visit to the disk thread.
#[cfg(target_os = "linux")]
pub(super) fn known_missing(path: &Path) -> bool {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    use rustix::io::Errno;

    // EAGAIN: the kernel does not remember. Other errors: it is older than 5.12, or a sandbox forbids the call.
    let answer = openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::CACHED);
    matches!(answer, Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG))
}

/// Other systems cannot answer that.
#[cfg(not(target_os = "linux"))]
pub(super) fn known_missing(_path: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn folder() -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("folder")).unwrap();
        std::fs::write(root.join("folder/page"), "page").unwrap();
        (dir, root)
    }

    fn is_file(root: &Path, name: &str) -> bool {
        matches!(find(root, Path::new(name)), Some(Found::File(_)))
    }

    #[test]
    fn files_and_directories() {
        let (_dir, root) = folder();
        assert!(is_file(&root, "folder/page"));
        assert!(matches!(find(&root, Path::new("folder")), Some(Found::Directory)));
        for missing in ["missing", "folder/missing", "folder/page/more", &"x".repeat(5000)] {
            assert!(find(&root, Path::new(missing)).is_none(), "{missing}");
        }
    }

    #[test]
    fn links_do_not_lead_out() {
        let (_dir, root) = folder();
        let (_other, outside) = folder();
        symlink(root.join("folder/page"), root.join("inside")).unwrap();
        symlink(outside.join("folder/page"), root.join("file")).unwrap();
        symlink(&outside, root.join("directory")).unwrap();
        symlink("../", root.join("up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        assert!(is_file(&root, "inside"));
        for link in ["file", "directory", "directory/folder/page", "up", "loop"] {
            assert!(find(&root, Path::new(link)).is_none(), "{link}");
        }
    }

    #[test]
    fn a_file_that_was_replaced_after_it_was_found_is_not_opened() {
        let (_dir, root) = folder();
        let page = root.join("folder/page");
        let Some(Found::File(located)) = find(&root, Path::new("folder/page")) else { panic!("not found") };
        assert!(located.open().is_some());
        std::fs::remove_file(&page).unwrap();
        symlink("/etc/passwd", &page).unwrap();
        assert!(located.open().is_none(), "a link");
        std::fs::remove_file(&page).unwrap();
        make_fifo(&page);
        assert!(located.open().is_none(), "a FIFO, and no wait for its writer");
        std::fs::remove_file(&page).unwrap();
        std::fs::create_dir(&page).unwrap();
        assert!(located.open().is_none(), "a directory");
    }

    #[test]
    fn only_regular_files_are_found() {
        let (_dir, root) = folder();
        make_fifo(&root.join("fifo"));
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        assert!(find(&root, Path::new("fifo")).is_none());
        assert!(find(&root, Path::new("socket")).is_none());
        assert!(find(Path::new("/dev"), Path::new("null")).is_none());
    }

    fn make_fifo(path: &Path) {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    #[test]
    fn nothing_that_exists_is_known_missing() {
        let (_dir, root) = folder();
        let late = root.join("late");
        for _ in 0..3 {
            assert!(!known_missing(&root));
            assert!(!known_missing(&root.join("folder/page")));
            // What the kernel remembers of a missing name ends when it appears.
            let _ = (late.metadata(), known_missing(&late));
            std::fs::write(&late, "").unwrap();
            assert!(!known_missing(&late));
            std::fs::remove_file(&late).unwrap();
        }
    }
}
