//! What the kernel says about a pinned link: its interface, which aya 0.14 does not tell.

use std::{
    ffi::CString,
    io,
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
#[derive(FromZeros, IntoBytes, Immutable)]
struct GetInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
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

/// Looks at the link pinned at `path`; `None` if nothing is pinned there.
pub(super) fn observe(path: &Path) -> io::Result<Option<Link>> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut get = Get::new_zeroed();
    get.pathname = name.as_ptr() as u64;
    let fd = match bpf(BPF_OBJ_GET, &get) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        fd => fd?,
    };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: BPF_OBJ_GET returns a new descriptor, which nobody else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };

    let mut info = LinkInfo::new_zeroed();
    let attr = GetInfo {
        bpf_fd: fd.as_raw_fd().cast_unsigned(),
        info_len: u32::try_from(size_of_val(&info)).map_err(io::Error::other)?,
        info: (&raw mut info) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &attr)?;
    let kind = match info.kind {
        BPF_LINK_TYPE_XDP => Kind::Xdp,
        BPF_LINK_TYPE_TCX => Kind::Tcx,
        _ => Kind::Other,
    };
    Ok(Some(Link {
        kind,
        program_id: info.prog_id,
        ifindex: info.ifindex,
    }))
}

/// The system call. Pointers in `attr` must be valid for what the command does with them.
fn bpf(command: libc::c_long, attr: &(impl IntoBytes + Immutable)) -> io::Result<libc::c_long> {
    let bytes = attr.as_bytes();
    // SAFETY: the kernel reads `attr` only, as long as we say; the two callers above give it a C
    // string and a struct of the length they name.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, bytes.as_ptr(), bytes.len()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
