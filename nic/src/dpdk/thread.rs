//! A thread that uses ports is one of EAL's: then it has its own cache of each pool, without which every mbuf is taken and
//! given back with atomic operations on memory that all threads share.

use drover_dpdk_sys as sys;

/// A thread's place among EAL's, while the thread lives.
struct Place {
    registered: bool,
}

thread_local! {
    static PLACE: Place = Place::take();
}

impl Place {
    fn take() -> Place {
        // SAFETY: reads a variable of the thread.
        if unsafe { sys::ddp_has_lcore() } != 0 {
            return Place { registered: false };
        }
        // When all places are taken this fails, which costs speed, nothing else.
        // SAFETY: EAL is up: only what holds ports comes here.
        let rc = unsafe { sys::ddp_thread_register() };
        Place { registered: rc == 0 }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.registered {
            // SAFETY: this thread was registered, and uses no port any more.
            unsafe { sys::ddp_thread_unregister() };
        }
    }
}

/// Makes the calling thread one of EAL's, the first time. Later it is a look at a variable.
#[inline]
pub(super) fn enter() {
    // While a thread ends there is nothing to gain.
    let _ = PLACE.try_with(|_| ());
}
