//! Answers programs of the node over a UNIX socket.
//!
//! The CNI plugin asks for a pod's place on an ENI, by a line of JSON ([`pods::Question`]). An application with AF_XDP
//! sockets asks for the map of them: it connects and writes the ENI's ID and a line feed; the answer is `ok` and the map's file
//! descriptor (`SCM_RIGHTS`), or `error: ` and why. It then puts its socket into the map at the number of the
//! receive queue to which the socket is bound. The kernel takes a socket out that is closed, with its process too;
//! then the stack has the packets. Who may connect may take packets of every ENI of the node: root alone.

use std::{
    fs, io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::fs::PermissionsExt as _,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::{
    apply::{Chain, Programs},
    pods::{self, Offers},
};

/// Who does not ask in this time is not waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of the longest question.
const LONGEST: u64 = 4096;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("listen on {} for programs of the node", path.display())]
    Listen {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Serves until `shutdown`. What an earlier agent left at `path` is replaced.
pub async fn serve(
    path: &Path,
    programs: Programs,
    offers: Offers,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let failed = |source| Error::Listen {
        path: path.to_owned(),
        source,
    };
    let listener = listen(path).map_err(failed)?;
    info!(path = %path.display(), "Programs of the node are answered");
    loop {
        let asked = tokio::select! {
            asked = listener.accept() => asked,
            () = shutdown.cancelled() => return Ok(()),
        };
        let (stream, _) = asked.map_err(failed)?;
        let (programs, offers) = (programs.clone(), offers.clone());
        tokio::spawn(async move {
            let answered = answer(stream, &programs, &offers);
            let answered = tokio::time::timeout(PATIENCE, answered).await;
            if let Ok(Err(error)) = answered {
                debug!(%error, "Who asked went away");
            }
        });
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn answer(mut stream: UnixStream, programs: &Programs, offers: &Offers) -> io::Result<()> {
    let mut eni = String::new();
    let mut question = BufReader::new(&mut stream).take(LONGEST);
    question.read_line(&mut eni).await?;
    if eni.starts_with(['{', '"']) {
        let answer = match serde_json::from_str(&eni) {
            Ok(question) => pods::answer(question, programs, offers).await,
            Err(error) => pods::Answer::Refused(format!(
                "the CNI plugin and the agent are of different releases: {error}"
            )),
        };
        let line = serde_json::to_string(&answer)? + "\n";
        return stream.write_all(line.as_bytes()).await;
    }
    match programs.sockets(eni.trim()).await {
        Ok(map) => {
            info!(
                eni = eni.trim(),
                "An application has the map of AF_XDP sockets"
            );
            hand_over(stream, &map)
        }
        Err(error) => {
            let text = format!("error: {}\n", Chain(&error));
            stream.write_all(text.as_bytes()).await
        }
    }
}

fn hand_over(stream: UnixStream, map: &OwnedFd) -> io::Result<()> {
    let stream = stream.into_std()?;
    let rights = [map.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&rights)];
    let text = [io::IoSlice::new(b"ok\n")];
    let socket = stream.as_fd().as_raw_fd();
    sendmsg::<()>(socket, &text, &control, MsgFlags::empty(), None)?;
    Ok(())
}
