//! Runs the Go compiler, and says that it is alive.

use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Error, Program};

/// How often a build that says nothing is reported to be alive.
const TICK: Duration = Duration::from_secs(15);

/// Builds one program from its module, which lies in `source`.
pub(super) fn build(
    program: Program,
    source: &Path,
    output: &Path,
    progress: &dyn Fn(&str),
) -> Result<(), Error> {
    let name = program.name();
    let module = program.module();
    progress(&format!(
        "building {name} from Go modules; the first time this takes minutes"
    ));
    let mut go = Command::new("go")
        .current_dir(source)
        .args([
            "build",
            "-mod=mod",
            "-trimpath",
            &format!("-ldflags={}", module.ldflags),
            "-o",
        ])
        .args([output.as_os_str(), program.package().as_ref()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NoGo { program: name },
            _ => Error::Go {
                program: name,
                source,
            },
        })?;
    let stderr = go.stderr.take().expect("the standard error is a pipe");
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(stderr)
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    let start = Instant::now();
    let mut last = Vec::new();
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => {
                last.push(line);
                last.drain(..last.len().saturating_sub(20));
            }
            Err(RecvTimeoutError::Timeout) => {
                progress(&format!("building {name}: {} s", start.elapsed().as_secs()));
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = go.wait().map_err(|source| Error::Go {
        program: name,
        source,
    })?;
    if !status.success() {
        return Err(Error::Build {
            package: program.package(),
            output: last.join("\n"),
        });
    }
    progress(&format!("built {name} in {} s", start.elapsed().as_secs()));
    Ok(())
}
