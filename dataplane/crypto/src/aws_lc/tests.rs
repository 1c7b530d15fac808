use super::*;
use crate::prefetch::{LINE, LINES_MAX};

const _: fn() = || {
    fn wiped<T: ZeroizeOnDrop>() {}
    wiped::<RecordKey>();
    wiped::<MaskKey>();
    wiped::<LayerKey>();
};

/// Keys fill whole lines, so that no two share one, and fit what one prefetch asks for.
#[test]
fn keys_are_whole_lines() {
    for (align, size) in [
        (align_of::<RecordKey>(), size_of::<RecordKey>()),
        (align_of::<MaskKey>(), size_of::<MaskKey>()),
        (align_of::<LayerKey>(), size_of::<LayerKey>()),
    ] {
        assert_eq!((align, size % LINE), (LINE, 0));
        assert!(size <= LINE * LINES_MAX, "{size}");
    }
}
