//! An application that receives by AF_XDP, as small as can be (kernel documentation, `af_xdp.rst`).

use std::{
    ffi::c_void,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use aya::maps::{Map, MapData, XskMap};
use nix::net::if_::if_nametoindex;

/// Frames of the socket's memory, and entries of its rings.
const FRAMES: u32 = 64;
/// Bytes of a frame: the kernel writes less than a page into one.
const FRAME: u32 = 4096;

/// A socket that is bound to queue 0 of an interface.
pub(super) struct Application {
    _socket: OwnedFd,
    memory: Mapping,
    received: Ring,
    _free: Ring,
}

/// Memory that goes with this; a ring that is mapped keeps its socket alive.
struct Mapping {
    start: *mut c_void,
    bytes: usize,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped as long as that, and who points into it goes with it.
        let unmapped = unsafe { libc::munmap(self.start, self.bytes) };
        assert_eq!(unmapped, 0, "{}", io::Error::last_os_error());
    }
}

// SAFETY: the pointers lead to memory of this value alone, which never moves.
unsafe impl Send for Application {}

/// A ring that is shared with the kernel.
struct Ring {
    producer: *const AtomicU32,
    consumer: *const AtomicU32,
    entries: *mut c_void,
    _mapping: Mapping,
}

impl Application {
    /// Opens it in this thread's network and puts it into the map.
    pub(super) fn start(interface: &str, map: OwnedFd) -> Self {
        // SAFETY: no argument is a pointer.
        let socket = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        assert!(socket >= 0, "{}", io::Error::last_os_error());
        // SAFETY: the kernel has just opened it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let bytes = (FRAMES * FRAME) as usize;
        let memory = map_memory(bytes, -1, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, 0);
        // SAFETY: numbers, of which zeroes are some.
        let mut region: libc::xdp_umem_reg = unsafe { std::mem::zeroed() };
        region.addr = memory.start as u64;
        region.len = bytes as u64;
        region.chunk_size = FRAME;
        set(&socket, libc::XDP_UMEM_REG, &region);
        for ring in [
            libc::XDP_UMEM_FILL_RING,
            libc::XDP_UMEM_COMPLETION_RING,
            libc::XDP_RX_RING,
        ] {
            set(&socket, ring, &FRAMES);
        }
        let offsets = offsets(&socket);
        let free = Ring::open(&socket, &offsets.fr, libc::XDP_UMEM_PGOFF_FILL_RING, 8);
        for frame in 0..FRAMES {
            // SAFETY: the ring has an entry for each frame.
            let entry = unsafe { free.entries.cast::<u64>().add(frame as usize) };
            // SAFETY: as above; the kernel reads it when it is told of it below.
            unsafe { entry.write(u64::from(frame * FRAME)) };
        }
        // SAFETY: inside the mapping, which stays.
        let producer = unsafe { &*free.producer };
        producer.store(FRAMES, Ordering::Release);
        let received = Ring::open(&socket, &offsets.rx, 0, size_of::<libc::xdp_desc>());
        bind(&socket, if_nametoindex(interface).unwrap());
        let map = MapData::from_fd(map).and_then(Map::from_map_data).unwrap();
        let mut sockets = XskMap::try_from(map).unwrap();
        sockets.set(0, socket.as_raw_fd(), 0).unwrap();
        Self {
            _socket: socket,
            memory,
            received,
            _free: free,
        }
    }

    /// The next packet, if one comes. Its frame is not used again: the test sends few.
    pub(super) fn receive(&mut self) -> Option<Vec<u8>> {
        // SAFETY: inside the mapping, which stays.
        let producer = unsafe { &*self.received.producer };
        // SAFETY: as above.
        let consumer = unsafe { &*self.received.consumer };
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            let next = consumer.load(Ordering::Relaxed);
            if producer.load(Ordering::Acquire) == next {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            let entries = self.received.entries.cast::<libc::xdp_desc>();
            // SAFETY: an entry of the ring.
            let entry = unsafe { entries.add((next % FRAMES) as usize) };
            // SAFETY: the kernel has written it before it told of it.
            let packet = unsafe { entry.read() };
            let at = usize::try_from(packet.addr).unwrap();
            // SAFETY: the kernel says where in the memory the packet is.
            let start = unsafe { self.memory.start.cast::<u8>().add(at) };
            // SAFETY: as above, and it writes there no more.
            let bytes = unsafe { std::slice::from_raw_parts(start, packet.len as usize) }.to_vec();
            consumer.store(next + 1, Ordering::Release);
            return Some(bytes);
        }
        None
    }
}

impl Ring {
    fn open(socket: &OwnedFd, offsets: &libc::xdp_ring_offset, page: u64, entry: usize) -> Self {
        let bytes = usize::try_from(offsets.desc).unwrap() + FRAMES as usize * entry;
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        let mapping = map_memory(
            bytes,
            socket.as_raw_fd(),
            flags,
            i64::try_from(page).unwrap(),
        );
        // SAFETY: the offsets are the kernel's, inside of what it maps.
        let at = |offset: u64| unsafe { mapping.start.byte_add(usize::try_from(offset).unwrap()) };
        Self {
            producer: at(offsets.producer).cast(),
            consumer: at(offsets.consumer).cast(),
            entries: at(offsets.desc),
            _mapping: mapping,
        }
    }
}

fn map_memory(bytes: usize, file: i32, flags: i32, offset: i64) -> Mapping {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the kernel chooses the place.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, file, offset) };
    assert_ne!(start, libc::MAP_FAILED, "{}", io::Error::last_os_error());
    Mapping { start, bytes }
}

fn set<T>(socket: &OwnedFd, option: i32, value: &T) {
    let length = u32::try_from(size_of::<T>()).unwrap();
    let value: *const T = value;
    // SAFETY: the value lives as long as the call, and the length is its own.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            option,
            value.cast(),
            length,
        )
    };
    assert_eq!(set, 0, "option {option}: {}", io::Error::last_os_error());
}

fn offsets(socket: &OwnedFd) -> libc::xdp_mmap_offsets {
    // SAFETY: numbers, of which zeroes are some.
    let mut offsets: libc::xdp_mmap_offsets = unsafe { std::mem::zeroed() };
    let mut length = u32::try_from(size_of::<libc::xdp_mmap_offsets>()).unwrap();
    let (option, place) = (libc::XDP_MMAP_OFFSETS, &raw mut offsets);
    // SAFETY: both live as long as the call, and the length is the value's.
    let got = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            option,
            place.cast(),
            &raw mut length,
        )
    };
    assert_eq!(got, 0, "{}", io::Error::last_os_error());
    offsets
}

fn bind(socket: &OwnedFd, interface: u32) {
    // SAFETY: numbers, of which zeroes are some.
    let mut address: libc::sockaddr_xdp = unsafe { std::mem::zeroed() };
    address.sxdp_family = u16::try_from(libc::AF_XDP).unwrap();
    address.sxdp_flags = libc::XDP_COPY;
    address.sxdp_ifindex = interface;
    let length = u32::try_from(size_of::<libc::sockaddr_xdp>()).unwrap();
    let place = &raw const address;
    // SAFETY: the address lives as long as the call, and the length is its own.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), place.cast(), length) };
    assert_eq!(bound, 0, "{}", io::Error::last_os_error());
}
