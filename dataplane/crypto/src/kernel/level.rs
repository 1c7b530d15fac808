//! Levels of instructions, and the one place where code that uses them is entered.

use super::vector::{Block, Blocks2, Blocks4, Vector};
use std::sync::LazyLock;

/// Work of a kernel, generic over the vector. `run` is inlined into [`Cpu::enter`], and with it all that it calls: only
/// there do the instructions exist for the compiler.
pub trait Task {
    type Out;
    /// Does the work. Must be `#[inline(always)]`.
    fn run<L: Cpu>(self, cpu: L) -> Self::Out;
}

/// A level of instructions. A value is proof that this processor has them.
pub trait Cpu: Copy + 'static {
    /// The back end's name.
    const NAME: &'static str;
    /// A register of this level.
    type Vector: Vector<Cpu = Self>;
    /// Features of this level that this processor lacks.
    fn missing() -> Vec<&'static str>;
    /// Does `task` with this level's instructions.
    ///
    /// # Panics
    /// When this processor lacks them.
    fn enter<T: Task>(task: T) -> T::Out;
}

/// The features of a list that this processor lacks, by name.
macro_rules! missing {
    ($($feature:tt),*) => {{
        let mut missing = Vec::new();
        $(if !std::arch::is_x86_feature_detected!($feature) { missing.push($feature); })*
        missing
    }};
}

/// AES-NI and PCLMULQDQ.
#[derive(Clone, Copy)]
pub struct Aesni(());

impl Cpu for Aesni {
    const NAME: &'static str = "aesni";
    type Vector = Block;

    fn missing() -> Vec<&'static str> {
        missing!("aes", "pclmulqdq", "ssse3", "sse4.1")
    }

    fn enter<T: Task>(task: T) -> T::Out {
        #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
        fn within<T: Task>(task: T) -> T::Out {
            task.run(Aesni(()))
        }
        static HERE: LazyLock<bool> = LazyLock::new(|| Aesni::missing().is_empty());
        assert!(*HERE, "this processor lacks what the back end aesni needs");
        // SAFETY: the features that `within` is compiled for were detected.
        unsafe { within(task) }
    }
}

/// VAES and VPCLMULQDQ on AVX2's registers.
#[derive(Clone, Copy)]
pub struct Avx2(());

impl Cpu for Avx2 {
    const NAME: &'static str = "vaes256";
    type Vector = Blocks2;

    fn missing() -> Vec<&'static str> {
        missing!("aes", "pclmulqdq", "avx2", "vaes", "vpclmulqdq")
    }

    fn enter<T: Task>(task: T) -> T::Out {
        #[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
        fn within<T: Task>(task: T) -> T::Out {
            task.run(Avx2(()))
        }
        static HERE: LazyLock<bool> = LazyLock::new(|| Avx2::missing().is_empty());
        assert!(*HERE, "this processor lacks what the back end vaes256 needs");
        // SAFETY: the features that `within` is compiled for were detected.
        unsafe { within(task) }
    }
}

/// VAES and VPCLMULQDQ on AVX-512's registers.
#[derive(Clone, Copy)]
pub struct Avx512(());

impl Cpu for Avx512 {
    const NAME: &'static str = "vaes512";
    type Vector = Blocks4;

    fn missing() -> Vec<&'static str> {
        missing!("aes", "pclmulqdq", "avx512f", "avx512bw", "avx512dq", "avx512vl", "vaes", "vpclmulqdq")
    }

    fn enter<T: Task>(task: T) -> T::Out {
        #[target_feature(enable = "aes,pclmulqdq,avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq")]
        fn within<T: Task>(task: T) -> T::Out {
            task.run(Avx512(()))
        }
        static HERE: LazyLock<bool> = LazyLock::new(|| Avx512::missing().is_empty());
        assert!(*HERE, "this processor lacks what the back end vaes512 needs");
        // SAFETY: the features that `within` is compiled for were detected.
        unsafe { within(task) }
    }
}
