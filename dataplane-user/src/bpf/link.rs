//! A pinned link, by what aya 0.14 does not offer: on which interface it is, and detaching it at once.

use std::{
    ffi::CString,
    fs, io,
    mem::size_of_val,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use zerocopy::{FromZeros, Immutable, IntoBytes};

/// What a link attaches to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Xdp,
    Tcx,
    Other,
}

/// A link in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) kind: Kind,
    pub(super) program_id: u32,
    /// 0 when the interface is gone: the link is defunct.
    pub(super) ifindex: u32,
}

// Commands and types of links, linux/bpf.h.
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_LINK_DETACH: libc::c_long = 34;
const BPF_LINK_TYPE_XDP: u32 = 6;
const BPF_LINK_TYPE_TCX: u32 = 11;

/// `bpf_attr` of `BPF_OBJ_GET`.
#[repr(C)]
#[derive(FromZeros, IntoBytes, Immutable)]
struct Get {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// `bpf_attr` of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
#[derive(IntoBytes, Immutable)]
struct GetInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `bpf_attr` of `BPF_LINK_DETACH`.
#[repr(C)]
#[derive(IntoBytes, Immutable)]
struct Detach {
    link_fd: u32,
}

/// The beginning of `bpf_link_info`, with its union as XDP and TCX use it.
#[repr(C)]
#[derive(FromZeros, IntoBytes)]
struct LinkInfo {
    kind: u32,
    id: u32,
    prog_id: u32,
    reserved: u32,
    ifindex: u32,
    attach_type: u32,
}

/// A pinned link, held open: it lasts, whatever becomes of its pin.
#[derive(Debug)]
pub(super) struct Handle(OwnedFd);

/// Opens the link pinned at `path`; `None` if nothing is pinned there.
pub(super) fn open(path: &Path) -> io::Result<Option<Handle>> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut get = Get::new_zeroed();
    get.pathname = name.as_ptr() as u64;
    let fd = match bpf(BPF_OBJ_GET, &get) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        fd => fd?,
    };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: BPF_OBJ_GET returns a new descriptor, which nobody else owns.
    Ok(Some(Handle(unsafe { OwnedFd::from_raw_fd(fd) })))
}

/// Looks at the link pinned at `path`; `None` if nothing is pinned there.
pub(super) fn observe(path: &Path) -> io::Result<Option<Link>> {
    open(path)?.map(|link| link.observe()).transpose()
}

/// Detaches and unpins; nothing there is success.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let Some(link) = open(path)? else {
        return Ok(());
    };
    link.detach()?;
    fs::remove_file(path)
}

impl Handle {
    /// What it is and where.
    fn observe(&self) -> io::Result<Link> {
        let mut info = LinkInfo::new_zeroed();
        let attr = GetInfo {
            bpf_fd: self.0.as_raw_fd().cast_unsigned(),
            info_len: u32::try_from(size_of_val(&info)).map_err(io::Error::other)?,
            info: (&raw mut info) as u64,
        };
        bpf(BPF_OBJ_GET_INFO_BY_FD, &attr)?;
        let kind = match info.kind {
            BPF_LINK_TYPE_XDP => Kind::Xdp,
            BPF_LINK_TYPE_TCX => Kind::Tcx,
            _ => Kind::Other,
        };
        Ok(Link {
            kind,
            program_id: info.prog_id,
            ifindex: info.ifindex,
        })
    }

    /// Detaches at once. Without its pin a link goes too, but only some time later.
    pub(super) fn detach(&self) -> io::Result<()> {
        let attr = Detach {
            link_fd: self.0.as_raw_fd().cast_unsigned(),
        };
        bpf(BPF_LINK_DETACH, &attr).map(drop)
    }
}

/// The system call. Pointers in `attr` must be valid for what the command does with them.
fn bpf(command: libc::c_long, attr: &(impl IntoBytes + Immutable)) -> io::Result<libc::c_long> {
    let bytes = attr.as_bytes();
    // SAFETY: the kernel reads `attr` only, as long as we say; the callers above give it a C string
    // and a struct of the length they name.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, bytes.as_ptr(), bytes.len()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
