//! The calling convention between a wasm tool and the runner: two exports and one import, all on (pointer, length).

#[link(wasm_import_module = "aion")]
extern "C" {
    #[link_name = "syscall"]
    fn host_syscall(ptr: i32, len: i32) -> i64;
}

/// Memory for the host to write into. It is never freed: the instance ends with the call.
pub fn allocate(len: i32) -> i32 {
    let mut bytes = Vec::<u8>::with_capacity(len.max(1) as usize);
    let ptr = bytes.as_mut_ptr();
    std::mem::forget(bytes);
    ptr as i32
}

/// # Safety
/// `ptr` and `len` must name bytes that the host wrote into memory from [`allocate`].
pub unsafe fn bytes<'a>(ptr: i32, len: i32) -> &'a [u8] {
    std::slice::from_raw_parts(ptr as *const u8, len as usize)
}

/// Hand bytes to the host: pointer in the high half, length in the low half.
pub fn give(output: Vec<u8>) -> i64 {
    let packed = ((output.as_ptr() as u32 as i64) << 32) | output.len() as u32 as i64;
    std::mem::forget(output);
    packed
}

pub fn ask(request: &[u8]) -> Vec<u8> {
    let packed = unsafe { host_syscall(request.as_ptr() as i32, request.len() as i32) };
    let (ptr, len) = ((packed >> 32) as i32, packed as i32);
    if len == 0 {
        return Vec::new(); // the host gave the call up: it traps at the next step
    }
    unsafe { bytes(ptr, len) }.to_vec()
}

#[macro_export]
macro_rules! export {
    ($run:path) => {
        #[cfg(target_arch = "wasm32")]
        #[no_mangle]
        pub extern "C" fn aion_alloc(len: i32) -> i32 {
            $crate::wasm::allocate(len)
        }

        #[cfg(target_arch = "wasm32")]
        #[no_mangle]
        pub extern "C" fn aion_call(ptr: i32, len: i32) -> i64 {
            $crate::wasm::give($crate::answer(unsafe { $crate::wasm::bytes(ptr, len) }, $run))
        }
    };
}
