//! Which files of a handlers folder go into the zips: everything that is code, and nothing that is secret.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{Files, LARGEST_CONTENT, too_large};
use crate::error::{Error, Result};

/// What nobody means to upload, by its whole name and by the end of it, in small letters.
const SECRET_NAMES: [&str; 14] = [
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ecdsa_sk",
    "id_ed25519",
    "id_ed25519_sk",
    "credentials",
    "credentials.json",
    "secrets",
    "secrets.json",
    "secrets.yaml",
    "secrets.yml",
    "env.local",
    "service-account.json",
];
const SECRET_ENDINGS: [&str; 11] = [
    ".key",
    ".p12",
    ".pfx",
    ".jks",
    ".ppk",
    ".kdbx",
    ".env",
    "accesskeys.csv",
    ".tfvars",
    ".tfstate",
    ".tfstate.backup",
];

/// All files below `folder`, without hidden ones, tests and their coverage. A link is refused, because what it stands
/// for would be missing, and so is what looks like a key or a secret; in `node_modules` everything is public.
///
/// # Errors
/// A usage error: what cannot be read, is refused, or is more than Lambda takes.
pub(super) fn read(folder: &Path) -> Result<Files> {
    let mut files = Files::new();
    let mut left = LARGEST_CONTENT;
    let mut folders = vec![(folder.to_path_buf(), String::new())];
    while let Some((next, within)) = folders.pop() {
        let unreadable = |error| Error::usage(format!("cannot read the handlers in `{}`: {error}", next.display()));
        let is_ours = !within.split('/').any(|part| part == "node_modules");
        for entry in std::fs::read_dir(&next).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().map_err(unreadable)?;
            if name.starts_with('.') || name.ends_with(".test.mjs") {
                continue;
            }
            if kind.is_symlink() {
                return Err(Error::usage(format!("`{}` is a symbolic link, and a zip takes only files", path.display()))
                    .hint("copy the file that it points to; `npm install --install-links` and pnpm's `node-linker=hoisted` make no links"));
            }
            if kind.is_dir() {
                if !(is_ours && name == "coverage") {
                    folders.push((path, format!("{within}{name}/")));
                }
            } else if kind.is_file() {
                let content = read_at_most(&path, left).map_err(unreadable)?;
                let rest = left.checked_sub(content.len());
                left = rest.ok_or_else(|| too_large(Some(folder), "the content", LARGEST_CONTENT))?;
                if is_ours && is_secret(&name.to_lowercase(), &content) {
                    return Err(Error::usage(format!(
                        "`{}` looks like a secret, which must not go into the zip of a function",
                        path.display()
                    ))
                    .hint("move it out of the folder, or put a dot before its name: hidden files stay here"));
                }
                files.insert(format!("{within}{name}"), content);
            }
        }
    }
    Ok(files)
}

/// The content of a file, or a byte more than `most` of it.
fn read_at_most(path: &Path, most: usize) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(most as u64 + 1).read_to_end(&mut content)?;
    Ok(content)
}

/// Certificates have the same ending as keys, and handlers may well bring some.
fn is_secret(name: &str, content: &[u8]) -> bool {
    SECRET_NAMES.contains(&name)
        || SECRET_ENDINGS.iter().any(|ending| name.ends_with(ending))
        || name.ends_with(".pem") && content.windows(11).any(|window| window == b"PRIVATE KEY")
}
