//! Finds the programs of Kubernetes, or builds them from pinned Go modules.
//!
//! A program is looked for in the folder that was given, in `KUBEBUILDER_ASSETS`, and in the
//! cache; what is missing is built once, 4 to 8 minutes for all, into the cache. A cache folder is
//! named by the hash of its `go.sum`, so another version never meets an old program.

mod build;
mod program;

pub use program::Program;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::cache;

use build::build;

/// Why a program is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is neither the program nor a compiler.
    #[error(
        "{program} is neither in --bin, KUBEBUILDER_ASSETS nor the cache, and cannot be built, because `go` is missing: \
         install Go 1.26 from https://go.dev/dl"
    )]
    NoGo {
        /// What was wanted.
        program: &'static str,
    },
    /// The cache folder cannot be used.
    #[error("write {path}")]
    Cache {
        /// Which file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The compiler could not be run.
    #[error("run go build for {program}")]
    Go {
        /// What was being built.
        program: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The compiler failed.
    #[error(
        "go build of {package} failed (are the Go module proxy and 5 GB of disk there?):\n{output}"
    )]
    Build {
        /// What was being built.
        package: &'static str,
        /// Its last lines.
        output: String,
    },
}

/// Where programs are looked for, and kept once built.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// Folders to look in, best first.
    pub folders: Vec<PathBuf>,
    /// Where built programs go, a folder for each version.
    pub cache: PathBuf,
}

impl Binaries {
    /// `--bin` if it is given, then `KUBEBUILDER_ASSETS`, then `bin` in the cache (`~/.cache/eniway`).
    pub fn from_environment(bin: Option<&Path>) -> Self {
        let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let folders = bin
            .map(Path::to_path_buf)
            .into_iter()
            .chain(assets)
            .collect();
        Self {
            folders,
            cache: cache::folder().join("bin"),
        }
    }

    /// Builds what is missing.
    pub fn build_all(&self, progress: &dyn Fn(&str)) -> Result<(), Error> {
        for program in Program::ALL {
            self.locate(program, progress)?;
        }
        Ok(())
    }

    /// The path of a program, which is built first if it must be.
    ///
    /// Processes that want the same program take turns, so it is built once.
    pub fn locate(&self, program: Program, progress: &dyn Fn(&str)) -> Result<PathBuf, Error> {
        let name = program.name();
        if let Some(found) = self
            .folders
            .iter()
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
        {
            return Ok(found);
        }
        let module = program.module();
        let folder = self.cache.join(module.hash());
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
        let cache = |path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::Cache { path, source }
        };
        let source = folder.join("module");
        fs::create_dir_all(&source).map_err(cache(&source))?;
        let lock = folder.join("lock");
        let lock = File::create(&lock).map_err(cache(&lock))?;
        lock.lock().map_err(cache(&folder))?;
        if path.is_file() {
            return Ok(path);
        }
        for (file, text) in [
            ("go.mod", module.go_mod),
            ("go.sum", module.go_sum),
            ("tools.go", module.tools),
        ] {
            fs::write(source.join(file), text).map_err(cache(&source))?;
        }
        let partial = folder.join(format!("{name}.partial"));
        build(program, &source, &partial, progress)?;
        fs::rename(&partial, &path).map_err(cache(&path))?;
        Ok(path)
    }
}
