//! The images that every node has: one that holds a pod's namespaces, one that runs shell scripts.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, Image};

/// Runs shell scripts in pods; every busybox applet is in `/bin`.
pub const BUSYBOX: &str = "registry.local/busybox:1";
/// Holds a pod's namespaces.
pub const PAUSE: &str = "registry.local/pause:1";

/// Where Debian's busybox-static puts it.
const BUSYBOX_FILE: &str = "/bin/busybox";

/// Writes the pause and busybox images into `folder` and gives the archives' paths.
pub fn write_base(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = |source| Error::Read {
        reference: BUSYBOX.to_owned(),
        path: BUSYBOX_FILE.into(),
        source,
    };
    let list = Command::new(BUSYBOX_FILE)
        .arg("--list")
        .output()
        .map_err(read)?;
    let applets = String::from_utf8_lossy(&list.stdout).into_owned();
    let system = |reference: &str| -> Result<Image, Error> {
        let image = Image::new(reference).executable("bin/busybox", Path::new(BUSYBOX_FILE))?;
        let applets = applets.lines().filter(|applet| *applet != "busybox");
        Ok(applets.fold(image, |image, applet| {
            image.link(&format!("bin/{applet}"), "busybox")
        }))
    };
    let pause = "trap 'exit 0' TERM INT; while :; do sleep 1000 & wait $!; done";
    let (busybox_tar, pause_tar) = (folder.join("busybox.tar"), folder.join("pause.tar"));
    system(BUSYBOX)?.command(&["/bin/sh"]).write(&busybox_tar)?;
    system(PAUSE)?
        .entrypoint(&["/bin/sh", "-c", pause])
        .write(&pause_tar)?;
    Ok(vec![pause_tar, busybox_tar])
}
