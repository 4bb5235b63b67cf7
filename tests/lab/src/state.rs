//! What a lab leaves outside its namespaces: one folder and its cgroups, and how both go away.
//!
//! Three parties remove them, with the same script: the lab itself when it is dropped, a keeper
//! process that outlives a killed lab for a moment, and the sweep of the next lab, for the case
//! that the keeper was killed too.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::cache;
use crate::error::Error;

/// Holds a folder for each lab that is alive, and is there only while one is.
const BASE: &str = "/tmp/eniway-lab";

/// Removes the cgroups `$1` in every hierarchy, v1 or v2, and the folder `$2`; with the last lab the
/// folder `$3` of all goes, too.
///
/// A cgroup can be removed a moment after its last process died; five seconds are plenty. Folders
/// below a cgroup can only be removed by rmdir, deepest first.
const REMOVE: &str = r#"
find_cgroups() { find /sys/fs/cgroup -maxdepth 2 -type d -name "$1" 2>/dev/null; }
for try in $(seq 100); do
    left=$(find_cgroups "$1")
    [ -z "$left" ] && break
    for cgroup in $left; do find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null; done
    sleep 0.05
done
rm -rf "$2"
rmdir "$3"
"#;

/// The folder and the name of one lab.
#[derive(Debug)]
pub(crate) struct State {
    id: String,
    folder: PathBuf,
    /// Locked as long as we live; what is not locked is swept.
    _alive: File,
    keeper: Child,
}

impl State {
    /// Sweeps what dead labs left, then makes a folder with a name that no other lab has.
    pub(crate) fn new() -> Result<Self, Error> {
        let _turn = turn()?;
        sweep_all()?;
        let uuid = "/proc/sys/kernel/random/uuid";
        let random = fs::read_to_string(uuid).map_err(failed(Path::new(uuid)))?;
        let id = format!(
            "lab-{}",
            random
                .split('-')
                .next()
                .expect("split gives at least one piece")
        );
        let folder = Path::new(BASE).join(&id);
        create(&folder).map_err(failed(&folder))?;
        let alive = folder.join("alive");
        let alive = File::create(&alive)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(failed(&alive))?;
        let keeper = remove(&id, &format!("cat > /dev/null; {REMOVE}"))
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|source| Error::Spawn {
                program: "sh".to_owned(),
                source,
            })?;
        for kind in ["log", "pki", "image"] {
            fs::create_dir(folder.join(kind)).map_err(failed(&folder))?;
        }
        Ok(Self {
            id,
            folder,
            _alive: alive,
            keeper,
        })
    }

    /// Such as `lab-3fa9c1d2`; also the name of the lab's cgroups.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn log(&self, component: &str) -> PathBuf {
        self.folder.join("log").join(format!("{component}.log"))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // The end of its input tells the keeper to begin; waiting closes it.
        let _ = self.keeper.wait();
    }
}

/// Sweeping and beginning exclude each other, or a lab could be swept before it has its lock.
///
/// What locks them out is in the cache: in the folder of the labs it would be the last to stay.
fn turn() -> Result<File, Error> {
    let folder = cache::folder();
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let path = folder.join("lab.lock");
    let file = File::create(&path).map_err(failed(&path))?;
    file.lock().map_err(failed(&path))?;
    Ok(file)
}

/// Makes the folder of a lab below that of all labs, which another lab may just be taking away.
fn create(folder: &Path) -> io::Result<()> {
    loop {
        match fs::create_dir_all(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            result => return result,
        }
    }
}

/// Removes what labs left that are not alive any more.
///
/// Every lab does this when it starts.
///
/// # Errors
///
/// The lock in the cache cannot be had, or the folder of the labs cannot be read.
pub fn sweep() -> Result<(), Error> {
    let _turn = turn()?;
    sweep_all()
}

fn sweep_all() -> Result<(), Error> {
    let labs = match fs::read_dir(BASE) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        labs => labs.map_err(failed(Path::new(BASE)))?,
    };
    for entry in labs.flatten() {
        let Some(id) = entry.file_name().to_str().map(str::to_owned) else {
            continue;
        };
        let alive = entry.path().join("alive");
        let dead = !alive.exists() || File::open(&alive).is_ok_and(|file| file.try_lock().is_ok());
        if id.starts_with("lab-") && dead {
            remove(&id, REMOVE)
                .status()
                .map_err(|source| Error::Spawn {
                    program: "sh".to_owned(),
                    source,
                })?;
        }
    }
    Ok(())
}

fn remove(id: &str, script: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", script, "sweep", id])
        .arg(Path::new(BASE).join(id))
        .arg(BASE);
    // Ctrl-C is for the lab, not for the one who cleans up after it.
    command
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

pub(crate) fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    |source| Error::File { path, source }
}
