//! NVIDIA's run-time compiler. It needs neither a GPU nor a driver.
#![expect(unsafe_code, reason = "calls into NVRTC")]

use std::ffi::{CStr, CString, c_char};
use std::sync::OnceLock;

use cudarc::nvrtc::sys;

use crate::device::library::NVRTC;
use crate::ground::error::Failure;

/// The loaded compiler.
#[derive(Clone, Debug)]
pub struct Nvrtc {
    /// Its version.
    pub version: (i32, i32),
}

/// What to compile to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// NVIDIA's portable assembly, as text.
    Ptx,
    /// The machine code of one kind of GPU.
    Cubin,
}

/// A compiled kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// PTX text or a CUBIN.
    pub code: Vec<u8>,
    /// What the compiler said; for a CUBIN with registers and memory of each kernel.
    pub log: String,
}

impl Nvrtc {
    /// Loads the library once.
    pub fn load() -> Result<&'static Nvrtc, Failure> {
        static LOADED: OnceLock<Result<Nvrtc, String>> = OnceLock::new();
        let loaded = LOADED.get_or_init(|| {
            if let Some(path) = NVRTC.find() {
                super::preload(&path)?;
            }
            // SAFETY: looks for the library by name and loads it, which runs its initialisers.
            if !unsafe { sys::is_culib_present() } {
                return Err(format!(
                    "NVRTC, which compiles kernels, is not installed: {}",
                    NVRTC.advice
                ));
            }
            let (mut major, mut minor) = (0, 0);
            // SAFETY: both pointers are to live integers.
            let known = unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) };
            check(known, "cannot say its version")?;
            Ok(Nvrtc { version: (major, minor) })
        });
        loaded.as_ref().map_err(|why| Failure::Compile(why.clone()))
    }

    /// Compiles CUDA C++. `arch` is `sm_80` or the like; `name` is for messages.
    pub fn compile(
        &self,
        source: &str,
        name: &str,
        arch: &str,
        code: Code,
    ) -> Result<Compiled, Failure> {
        let arch = match code {
            Code::Ptx => arch.replace("sm_", "compute_"),
            Code::Cubin => arch.to_string(),
        };
        let mut options = vec![format!("--gpu-architecture={arch}")];
        options.extend(OPTIONS.map(String::from));
        if code == Code::Cubin {
            options.push("--ptxas-options=--verbose".into());
        }
        self.run(source, name, &options, code).map_err(|why| {
            Failure::Compile(format!("NVRTC cannot compile {name} for {arch}: {why}"))
        })
    }

    fn run(
        &self,
        source: &str,
        name: &str,
        options: &[String],
        code: Code,
    ) -> Result<Compiled, String> {
        let text = |s: &str| CString::new(s).map_err(|_| "the text holds a zero byte".to_string());
        // A name without a folder would get the working folder, and the result would depend on it.
        let (source, file) = (text(source)?, text(&format!("{ROOT}{name}.cu"))?);
        let options = options.iter().map(|o| text(o)).collect::<Result<Vec<_>, _>>()?;
        let options: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
        let mut program = Program(std::ptr::null_mut());
        // SAFETY: source and name are zero-terminated and live; there are no headers, so their
        // arrays may be null.
        let made = unsafe {
            let (headers, names) = (std::ptr::null(), std::ptr::null());
            sys::nvrtcCreateProgram(
                &raw mut program.0,
                source.as_ptr(),
                file.as_ptr(),
                0,
                headers,
                names,
            )
        };
        check(made, "cannot make a program")?;
        // SAFETY: the program is valid and the options are zero-terminated and live.
        let done =
            unsafe { sys::nvrtcCompileProgram(program.0, options.len() as i32, options.as_ptr()) };
        let log = program.bytes(sys::nvrtcGetProgramLogSize, sys::nvrtcGetProgramLog)?;
        let log = String::from_utf8_lossy(&log).trim_end_matches(['\0', '\n']).to_string();
        let log = log.replace(&format!("{ROOT}{name}.cu"), &format!("{name}.cu"));
        check(done, &log)?;
        let code = match code {
            Code::Ptx => {
                let mut text = program.bytes(sys::nvrtcGetPTXSize, sys::nvrtcGetPTX)?;
                text.retain(|byte| *byte != 0);
                text
            }
            Code::Cubin => program.bytes(sys::nvrtcGetCUBINSize, sys::nvrtcGetCUBIN)?,
        };
        Ok(Compiled { code, log })
    }
}

/// The folder that a program's text seems to lie in, wherever it is compiled.
const ROOT: &str = "/lrc/";

/// Options of every compilation; part of what a cached kernel depends on.
pub const OPTIONS: [&str; 3] =
    ["--std=c++17", "--generate-line-info", "--device-as-default-execution-space"];

struct Program(sys::nvrtcProgram);

impl Program {
    /// What a pair of functions says: first how long it is, then the bytes.
    fn bytes(
        &self,
        size: unsafe fn(sys::nvrtcProgram, *mut usize) -> sys::nvrtcResult,
        get: unsafe fn(sys::nvrtcProgram, *mut c_char) -> sys::nvrtcResult,
    ) -> Result<Vec<u8>, String> {
        let mut length = 0;
        // SAFETY: the program is valid, and the pointer is to a live integer.
        check(unsafe { size(self.0, &raw mut length) }, "cannot say the length of its result")?;
        let mut bytes = vec![0_u8; length];
        // SAFETY: the buffer is as long as NVRTC has just asked for.
        check(unsafe { get(self.0, bytes.as_mut_ptr().cast()) }, "cannot give its result")?;
        Ok(bytes)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the program is valid and not used again. There is nothing to do if it fails.
            let _ = unsafe { sys::nvrtcDestroyProgram(&raw mut self.0) };
        }
    }
}

fn check(result: sys::nvrtcResult, what: &str) -> Result<(), String> {
    if result == sys::nvrtcResult::NVRTC_SUCCESS {
        return Ok(());
    }
    // SAFETY: the function takes any number, and gives a text or nothing.
    let text = unsafe { sys::nvrtcGetErrorString(result) };
    if text.is_null() {
        return Err(format!("result {}: {what}", result as u32));
    }
    // SAFETY: it is not null, and NVRTC's texts are static and zero-terminated.
    let name = unsafe { CStr::from_ptr(text) };
    Err(format!("{}: {what}", name.to_string_lossy()))
}
