//! Reads the repository's files.

use std::fs;
use std::path::{Path, PathBuf};

/// A file, by its path from the repository's root.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// The lines that are code, with their numbers; comments may speak of anything.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = (1..).zip(self.text.lines().map(str::trim));
        lines.filter(|(_, line)| !line.is_empty() && !line.starts_with("//"))
    }

    /// The code that is shipped: without the tests, which end a file or have one of their own.
    pub(crate) fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.path.ends_with("/tests.rs");
        let code = self.code().take_while(|(_, line)| *line != "mod tests {");
        code.filter(move |_| !tests)
    }
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap().to_path_buf()
}

/// Every file below `folder` with this extension, sorted by path.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<File> {
    let root = root();
    let mut files = Vec::new();
    collect(&root, &root.join(folder), extension, &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!files.is_empty(), "there is no .{extension} below {folder}");
    files
}

fn collect(root: &Path, folder: &Path, extension: &str, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(root, &path, extension, files);
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root).unwrap().display().to_string();
            files.push(File { path, text });
        }
    }
}

/// Fails with all that is wrong, not with the first.
pub(crate) fn none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}
