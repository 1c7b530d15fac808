//! The small types that messages are made of.

use super::codec::{DecodeError, Full, Reader, Writer, check};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::Deref;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Secret bytes: zeroized when dropped, never printed.
#[derive(Clone)]
pub struct Secret<const N: usize>(pub [u8; N]);

impl<const N: usize> Default for Secret<N> {
    fn default() -> Self {
        Secret([0; N])
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<const N: usize> Zeroize for Secret<N> {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl<const N: usize> ZeroizeOnDrop for Secret<N> {}

impl<const N: usize> Secret<N> {
    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.bytes(&self.0)
    }
    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(|bytes| Secret(*bytes))
    }
}

/// One life of a data plane: drawn at its start. Every put carries it, so that none reaches a later life (W-CTL-4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BootId(pub [u8; 16]);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl BootId {
    pub(super) fn put(self, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.bytes(&self.0)
    }
    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(|bytes| BootId(*bytes))
    }
}

/// A UDP address. IPv4 is held v4-mapped (RFC 4291, 2.5.5.2); flow label and scope id are not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The IPv6 or v4-mapped address.
    pub ip: [u8; 16],
    /// The UDP port.
    pub port: u16,
}

/// `[::]:0`.
impl Default for Address {
    fn default() -> Self {
        Address { ip: [0; 16], port: 0 }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Address { ip: ip.octets(), port: address.port() }
    }
}

impl From<Address> for SocketAddr {
    fn from(address: Address) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from(address.ip).to_canonical(), address.port)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&SocketAddr::from(*self), f)
    }
}

impl Address {
    /// Whether the IP is `::` or 0.0.0.0.
    pub fn is_unspecified(&self) -> bool {
        let ip = Ipv6Addr::from(self.ip);
        ip.is_unspecified() || ip.to_ipv4_mapped() == Some(Ipv4Addr::UNSPECIFIED)
    }
    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.bytes(&self.ip)?;
        writer.u16(self.port)
    }
    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Address { ip: *reader.array()?, port: reader.u16()? })
    }
}

/// Bytes of the longest owner blob.
pub const OWNER_MAX: usize = 64;

/// Opaque bytes that control leaves with an object, to know it again (W-CTL-7). They may name a peer: not printed.
#[derive(Clone, Copy)]
pub struct Owner {
    bytes: [u8; OWNER_MAX],
    len: u8,
}

impl Owner {
    /// `None` when there are more than [`OWNER_MAX`] bytes.
    pub fn new(blob: &[u8]) -> Option<Owner> {
        let mut bytes = [0; OWNER_MAX];
        bytes.get_mut(..blob.len())?.copy_from_slice(blob);
        let len = u8::try_from(blob.len()).ok()?;
        Some(Owner { bytes, len })
    }
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.u8(self.len)?;
        writer.bytes(self.as_bytes())
    }
    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = usize::from(reader.u8()?);
        check(len <= OWNER_MAX, "owner", "at most 64 bytes")?;
        Owner::new(reader.bytes(len)?).ok_or(DecodeError::Short)
    }
}

/// Empty.
impl Default for Owner {
    fn default() -> Self {
        Owner { bytes: [0; OWNER_MAX], len: 0 }
    }
}

impl PartialEq for Owner {
    fn eq(&self, other: &Owner) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Owner {}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({} bytes)", self.len)
    }
}

/// At most `N` bytes, held inline. They may be secret or name peers: wiped when dropped, not printed.
#[derive(Clone)]
pub struct Bytes<const N: usize> {
    bytes: [u8; N],
    len: u16,
}

impl<const N: usize> Bytes<N> {
    const CAPACITY: () = assert!(N <= u16::MAX as usize, "its length travels in two bytes");

    /// These bytes; `None` when there are more than `N`.
    pub fn new(from: &[u8]) -> Option<Self> {
        let () = Self::CAPACITY;
        let mut bytes = [0; N];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Bytes { bytes, len: from.len() as u16 })
    }
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.u16(self.len)?;
        writer.bytes(self.as_bytes())
    }
    pub(super) fn take(
        reader: &mut Reader<'_>,
        name: &'static str,
        allowed: &'static str,
    ) -> Result<Self, DecodeError> {
        let len = usize::from(reader.u16()?);
        check(len <= N, name, allowed)?;
        Bytes::new(reader.bytes(len)?).ok_or(DecodeError::Short)
    }
}

impl<const N: usize> Drop for Bytes<N> {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl<const N: usize> fmt::Debug for Bytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.len)
    }
}

/// At most `N` (up to 255) items, held inline: messages do not allocate.
#[derive(Clone)]
pub struct List<T, const N: usize> {
    items: [T; N],
    len: u8,
}

impl<T: Default, const N: usize> List<T, N> {
    const CAPACITY: () = assert!(N <= 255, "a list's length travels in one byte");

    /// An empty list.
    pub fn new() -> Self {
        let () = Self::CAPACITY;
        List { items: core::array::from_fn(|_| T::default()), len: 0 }
    }
    /// Appends an item; [`Full`] when there are `N`.
    pub fn push(&mut self, item: T) -> Result<(), Full> {
        *self.items.get_mut(usize::from(self.len)).ok_or(Full)? = item;
        self.len += 1;
        Ok(())
    }
    /// A list of clones of `items`; `None` when they are more than `N`.
    pub fn from_slice(items: &[T]) -> Option<Self>
    where
        T: Clone,
    {
        let mut list = List::new();
        items.iter().try_for_each(|item| list.push(item.clone())).ok()?;
        Some(list)
    }
    /// The items.
    pub fn as_slice(&self) -> &[T] {
        &self.items[..usize::from(self.len)]
    }
    pub(super) fn put(
        &self,
        writer: &mut Writer<'_>,
        put: impl Fn(&T, &mut Writer<'_>) -> Result<(), Full>,
    ) -> Result<(), Full> {
        writer.u8(self.len)?;
        self.iter().try_for_each(|item| put(item, writer))
    }
    pub(super) fn take(
        reader: &mut Reader<'_>,
        count: DecodeError,
        take: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
    ) -> Result<Self, DecodeError> {
        let len = reader.u8()?;
        if usize::from(len) > N {
            return Err(count);
        }
        let mut list = List::new();
        for _ in 0..len {
            list.push(take(reader)?).map_err(|Full| count)?;
        }
        Ok(list)
    }
}

impl<T: Default, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        List::new()
    }
}

impl<T: Default, const N: usize> Deref for List<T, N> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: Default + PartialEq, const N: usize> PartialEq for List<T, N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<T: Default + Eq, const N: usize> Eq for List<T, N> {}

impl<T: Default + fmt::Debug, const N: usize> fmt::Debug for List<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed_and_are_wiped() {
        let mut secret = Secret([0x5a; 32]);
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        secret.zeroize();
        assert_eq!(secret.0, [0; 32]);
        assert!(core::mem::needs_drop::<Secret<16>>());
    }

    #[test]
    fn boot_ids_are_printed_in_hex() {
        let id = BootId(core::array::from_fn(|n| n as u8 * 17));
        assert_eq!(id.to_string(), "00112233445566778899aabbccddeeff");
    }

    #[test]
    fn addresses_go_there_and_back() {
        for text in ["127.0.0.1:5000", "[2001:db8::1]:1", "[::1]:65535", "0.0.0.0:0"] {
            let socket: SocketAddr = text.parse().expect("an address");
            let address = Address::from(socket);
            assert_eq!(SocketAddr::from(address), socket);
            assert_eq!(address.to_string(), text);
        }
        let v4 = Address::from(SocketAddr::from(([1, 2, 3, 4], 9)));
        assert_eq!(v4.ip, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4]);
        let unspecified = |text: &str| Address::from(text.parse::<SocketAddr>().expect("an address")).is_unspecified();
        assert!(unspecified("0.0.0.0:1") && unspecified("[::]:1"));
        assert!(!unspecified("0.0.0.1:1") && !unspecified("[::1]:1"));
    }

    #[test]
    fn owners_hold_64_bytes_and_print_none() {
        let owner = Owner::new(&[7; OWNER_MAX]).expect("fits");
        assert_eq!(owner.as_bytes(), [7; OWNER_MAX]);
        assert_eq!(Owner::new(&[7; OWNER_MAX + 1]), None);
        assert_eq!(format!("{owner:?}"), "Owner(64 bytes)");
        assert_eq!(Owner::new(&[]), Some(Owner::default()));
        assert_ne!(Owner::new(&[0]), Some(Owner::default()));
    }

    #[test]
    fn lists_are_bounded() {
        let mut list = List::<u8, 2>::new();
        assert_eq!((list.push(1), list.push(2), list.push(3)), (Ok(()), Ok(()), Err(Full)));
        assert_eq!(list.as_slice(), [1, 2]);
        assert_eq!(format!("{list:?}"), "[1, 2]");
        assert_eq!(List::<u8, 2>::from_slice(&[1, 2]), Some(list));
        assert_eq!(List::<u8, 2>::from_slice(&[1, 2, 3]), None);
    }
}
