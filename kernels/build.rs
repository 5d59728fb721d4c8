//! Compiles the operations' `kernel.cu`: with nvcc for cards (feature `cuda`), or with the C++ compiler for the emulator
//! (feature `cuda-emulator`). Without these features it does nothing.
//!
//! All files become one translation unit, each in a namespace named for its folder, so that one image holds all kernels.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// One operation's kernels.
struct Source {
    /// The folder's name.
    operation: String,
    path: PathBuf,
    /// Names of its `__global__` functions.
    kernels: Vec<String>,
}

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Outcome<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let is_on = |feature: &str| env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    let (cuda, emulator) = (is_on("CUDA"), is_on("CUDA_EMULATOR"));
    if !cuda && !emulator {
        return Ok(());
    }
    println!("cargo:rerun-if-changed=src");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("src");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let sources = sources(&root)?;
    if emulator {
        compile_for_emulator(&root, &out, &sources)
    } else {
        compile_for_cards(&root, &out, &sources)?;
        link_runtime(&out)
    }
}

/// Every `src/OPERATION/kernel.cu`, in the order of their names.
fn sources(root: &Path) -> Outcome<Vec<Source>> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path().join("kernel.cu");
        if path.is_file() {
            let operation = path
                .parent()
                .and_then(Path::file_name)
                .map(|name| name.to_string_lossy().into_owned());
            let kernels = kernels(&fs::read_to_string(&path)?);
            let operation = operation.unwrap_or_default();
            sources.push(Source {
                operation,
                path,
                kernels,
            });
        }
    }
    sources.sort_by(|a, b| a.operation.cmp(&b.operation));
    Ok(sources)
}

/// The names of the `__global__` functions in `text`: what stands before the first bracket, launch bounds left out.
fn kernels(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n")
        .collect();
    let declarations = code.split("__global__").skip(1);
    let names = declarations.filter_map(|rest| {
        let rest = match rest.split_once("__launch_bounds__") {
            Some((before, after)) if !before.contains('(') => after.split_once(')')?.1,
            _ => rest,
        };
        rest.split_once('(')?.0.split_whitespace().last().map(str::to_owned)
    });
    names.collect()
}

/// The text of the one translation unit.
fn unit(sources: &[Source]) -> String {
    let mut text = String::from("#include \"cuda/common.cuh\"\n");
    for source in sources {
        let (operation, path) = (&source.operation, source.path.display());
        text += &format!("namespace {operation}_kernels {{\n#include \"{path}\"\n}}\n");
    }
    text
}

fn compile_for_emulator(root: &Path, out: &Path, sources: &[Source]) -> Outcome<()> {
    let mut text = unit(sources);
    text += "const emulator::Entry emulator::ENTRIES[] = {\n";
    for source in sources {
        for kernel in &source.kernels {
            text += &format!(
                "    EMULATOR_ENTRY(\"{kernel}\", {}_kernels::{kernel}),\n",
                source.operation
            );
        }
    }
    text += "    {nullptr, nullptr, 0},\n};\n";
    let path = out.join("emulated.cpp");
    fs::write(&path, text)?;
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").define("TANDEM_EMULATOR", None);
    build.include(root).include(root.join("cuda")).opt_level(2);
    // Contractions would round otherwise than what they are compared with.
    build
        .flag("-ffp-contract=off")
        .flag("-Wno-unknown-pragmas")
        .flag("-Wno-unused-parameter");
    // An index past an array whose length is known traps, which the emulator reports.
    build
        .flag_if_supported("-fsanitize=bounds")
        .flag_if_supported("-fsanitize-undefined-trap-on-error");
    build
        .file(path)
        .file(root.join("cuda/emulator/emulator.cpp"))
        .try_compile("tandem_emulated")?;
    Ok(())
}

/// Where the CUDA compiler and libraries are: `CUDA_HOME` or `CUDA_PATH`, else the usual place.
fn cuda_home() -> PathBuf {
    for variable in ["CUDA_HOME", "CUDA_PATH"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let set = env::var_os("CUDA_HOME").or_else(|| env::var_os("CUDA_PATH"));
    set.map_or_else(|| PathBuf::from("/usr/local/cuda"), PathBuf::from)
}

fn compile_for_cards(root: &Path, out: &Path, sources: &[Source]) -> Outcome<()> {
    let source = out.join("kernels.cu");
    fs::write(&source, unit(sources))?;
    let nvcc = cuda_home().join("bin").join(format!("nvcc{}", env::consts::EXE_SUFFIX));
    let nvcc = if nvcc.is_file() { nvcc } else { PathBuf::from("nvcc") };
    let run = Command::new(&nvcc)
        .args(["-fatbin", "-std=c++17", "-O3", "-lineinfo"])
        .args([
            "-gencode",
            "arch=compute_75,code=sm_75",
            "-gencode",
            "arch=compute_75,code=compute_75",
        ])
        .arg("-I")
        .arg(root)
        .arg("-I")
        .arg(root.join("cuda"))
        .arg("-o")
        .arg(out.join("kernels.fatbin"))
        .arg(&source)
        .output();
    let run = run.map_err(|error| {
        format!(
            "cannot run {}: {error}. The feature `cuda` needs the CUDA 13.0 compiler: install it and set CUDA_HOME to the \
             folder that holds bin/nvcc, or build without the feature",
            nvcc.display()
        )
    })?;
    if !run.status.success() {
        let said = String::from_utf8_lossy(&run.stderr).into_owned() + &String::from_utf8_lossy(&run.stdout);
        return Err(format!("{} failed:\n{said}", nvcc.display()).into());
    }
    Ok(())
}

/// Candle's kernels ask for a library `cudart`: where the static one is at hand they get it under that name, and the
/// program then starts without any CUDA library. Else they get the shared one.
fn link_runtime(out: &Path) -> Outcome<()> {
    let home = cuda_home();
    let folders = ["lib64", "lib", "targets/x86_64-linux/lib"].map(|folder| home.join(folder));
    let is_unix = env::var_os("CARGO_CFG_UNIX").is_some();
    let found = folders
        .iter()
        .map(|folder| folder.join("libcudart_static.a"))
        .find(|path| path.is_file());
    if let (true, Some(library)) = (is_unix, found) {
        let folder = out.join("cudart");
        fs::create_dir_all(&folder)?;
        fs::copy(library, folder.join("libcudart.a"))?;
        println!("cargo:rustc-link-search=native={}", folder.display());
        for library in ["dl", "rt", "pthread"] {
            println!("cargo:rustc-link-lib=dylib={library}");
        }
    } else {
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            println!("cargo:rustc-link-search=native={}", folder.display());
        }
    }
    Ok(())
}
