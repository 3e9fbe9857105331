//! What is surely ours: folders and files of this user's, closed to others, reached through no link, marked by us.
//!
//! Code is run from these folders, and they are deleted whole; so each is looked at anew before either.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

use super::failed_io;
use crate::error::{Code, Error, Result};
use crate::host::private;

/// Stands in every folder that we made and may remove.
const MARKER: &str = ".made-by-chatctl";
const MARKER_TEXT: &str = "chatctl made this folder, and removes it when it is of no more use\n";
/// The most that is read of a file whose content is not known yet.
const MOST: u64 = 64 * 1024;
/// Follows no link, and waits for nobody at a pipe.
const STRICT: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK);

/// Makes `folder` the place for the local AWS, closed to others. One that is there already must be ours, and empty or
/// marked, or hold nothing but what `is_known` by name.
///
/// # Errors
/// `LocalFolder` when it is somebody else's, or was made for something else.
pub fn claim(folder: &Path, is_known: impl Fn(&str) -> bool) -> Result<()> {
    if fs::symlink_metadata(folder).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        private::folders(folder).map_err(|error| failed_io("create", folder, error))?;
    }
    check(folder)?;
    if !is_marked(folder) {
        let entries = fs::read_dir(folder).map_err(|error| failed_io("read", folder, error))?;
        let is_known = |name: &str| name.starts_with(MARKER) || is_known(name);
        let stranger = entries.flatten().find(|entry| !entry.file_name().to_str().is_some_and(is_known));
        if let Some(stranger) = stranger {
            let (folder, stranger) = (folder.display(), stranger.file_name());
            let what = format!("`{folder}` holds other things, such as `{}`", stranger.display());
            return Err(Error::failed(Code::LocalFolder, format!("{what}, so the local AWS does not go there"))
                .hint("set `CHATCTL_DATA_DIR` to a folder of its own"));
        }
        mark(folder).map_err(|error| failed_io("mark", folder, error))?;
    }
    fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(|error| failed_io("close", folder, error))
}

/// Sees to it that `folder` is a folder of ours into which nobody else can put anything.
///
/// # Errors
/// `LocalFolder`, with whose it is.
pub fn check(folder: &Path) -> Result<()> {
    let found = fs::symlink_metadata(folder).map_err(|error| failed_io("look at", folder, error))?;
    let problem = if !found.is_dir() {
        "is no folder, or a link to one".to_owned()
    } else if found.uid() != geteuid().as_raw() {
        format!("belongs to another user ({})", found.uid())
    } else if found.mode() & 0o022 != 0 {
        "can be written to by other users".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::failed(Code::LocalFolder, format!("`{}` {problem}, so nothing in it is used", folder.display()))
        .hint("set `CHATCTL_DATA_DIR` to a folder that is yours alone"))
}

/// Makes a new folder, closed to others and marked.
pub fn make(folder: &Path) -> io::Result<()> {
    private::folder(folder)?;
    mark(folder)
}

/// Removes `folder` if it is one that we made; whatever else it is stays as it is.
pub fn remove(folder: &Path) {
    if check(folder).is_ok() && is_marked(folder) {
        let _ = fs::remove_dir_all(folder);
    }
}

/// Whole or not at all: another `chatctl` may be doing the same.
fn mark(folder: &Path) -> io::Result<()> {
    let new = folder.join(format!("{MARKER}.{:016x}", fastrand::u64(..)));
    private::file(&new)?.write_all(MARKER_TEXT.as_bytes())?;
    fs::rename(new, folder.join(MARKER))
}

/// Whether `folder` bears our mark. In an open one the mark says nothing: there, a checkout or an archive may have put it.
pub fn is_marked(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|found| is_closed(&found))
        && read(&folder.join(MARKER)).is_ok_and(|marker| marker.is_some_and(|(text, _)| text == MARKER_TEXT.as_bytes()))
}

/// Whether nobody but its owner may do anything with it.
pub fn is_closed(found: &Metadata) -> bool {
    matches!(found.mode() & 0o077, 0)
}

/// The file at `path` to hold a lock on; a link there is not followed, and nobody waited for who reads a pipe.
pub fn lock_file(path: &Path) -> io::Result<File> {
    let mut open = OpenOptions::new();
    open.write(true).create(true).truncate(false).mode(0o600).custom_flags(STRICT.bits()).open(path)
}

/// The start of a file of ours, and what it is; `None` where there is none, or one that somebody else could have written.
pub fn read(path: &Path) -> io::Result<Option<(Vec<u8>, Metadata)>> {
    let file = match OpenOptions::new().read(true).custom_flags(STRICT.bits()).open(path) {
        Ok(file) => file,
        // The last is how a link answers.
        Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ELOOP) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let found = file.metadata()?;
    if !found.is_file() || found.uid() != geteuid().as_raw() || found.mode() & 0o022 != 0 {
        return Ok(None);
    }
    let mut text = Vec::new();
    file.take(MOST).read_to_end(&mut text)?;
    Ok(Some((text, found)))
}
