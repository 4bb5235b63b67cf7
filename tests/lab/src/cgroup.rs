//! Makes the cgroups below which a node's pods live, in cgroup v1 and v2.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::state::failed;

const ROOT: &str = "/sys/fs/cgroup";
/// What the kubelet wants below its root, as far as the kernel has it.
const V2_CONTROLLERS: [&str; 6] = ["cpu", "cpuset", "hugetlb", "io", "memory", "pids"];

/// Makes the cgroup `lab/node` in every hierarchy.
pub(crate) fn make(path: &str) -> Result<(), Error> {
    if Path::new(ROOT).join("cgroup.controllers").exists() {
        return make_v2(path);
    }
    for hierarchy in hierarchies()? {
        let folder = hierarchy.join(path);
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        if hierarchy.ends_with("cpuset") {
            fill_cpuset(&hierarchy, path)?;
        }
    }
    Ok(())
}

/// The hierarchies of v1: real folders, not links such as `cpu,cpuacct`, nor the unused v2.
fn hierarchies() -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(ROOT)
        .map_err(failed(Path::new(ROOT)))?
        .flatten();
    let real = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(real
        .map(|entry| entry.path())
        .filter(|path| !path.ends_with("unified"))
        .collect())
}

/// A new cpuset of v1 allows nothing; it gets what its parent has.
fn fill_cpuset(hierarchy: &Path, path: &str) -> Result<(), Error> {
    let mut folder = hierarchy.to_path_buf();
    for part in Path::new(path).components() {
        let parent = folder.clone();
        folder.push(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let value = fs::read_to_string(parent.join(file)).map_err(failed(&parent))?;
            let target = folder.join(file);
            fs::write(&target, value).map_err(failed(&target))?;
        }
    }
    Ok(())
}

/// On v2 every level must hand its controllers down.
fn make_v2(path: &str) -> Result<(), Error> {
    let mut folder = PathBuf::from(ROOT);
    let available = folder.join("cgroup.controllers");
    let available = fs::read_to_string(&available).map_err(failed(&available))?;
    let wanted = |name: &&str| V2_CONTROLLERS.contains(name);
    let down: Vec<String> = available
        .split_whitespace()
        .filter(wanted)
        .map(|name| format!("+{name}"))
        .collect();
    for part in Path::new(path).components() {
        let control = folder.join("cgroup.subtree_control");
        fs::write(&control, down.join(" ")).map_err(failed(&control))?;
        folder.push(part);
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
    }
    Ok(())
}
