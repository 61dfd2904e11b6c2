# frozen_string_literal: true

require "open3"
require "rbconfig"

# What the build of the extension needs beside Ruby: a cargo that is new enough, and libclang. This is checked before the
# build, because the errors of the build itself come late and do not say what to do.
class Prerequisites
  RUST = "https://rustup.rs"
  # The same names and folders as in the crate clang-sys.
  LIBRARIES = %w[libclang.so libclang-*.so libclang.so.* libclang-*.so.*].freeze
  FOLDERS = %w[/usr/local/llvm*/lib* /usr/local/lib*/*/* /usr/local/lib*/* /usr/local/lib* /usr/lib*/*/* /usr/lib*/*
               /usr/lib*].freeze

  # @param env [#[]] the environment variables
  # @param cargo_toml [String] the file that names the oldest Rust
  def initialize(env: ENV, cargo_toml: File.expand_path("../../Cargo.toml", __dir__))
    @env = env
    @rust = File.read(cargo_toml)[/^rust-version\s*=\s*"([^"]+)"/, 1]
  end

  # @return [Array<String>] a line for each that is missing: what, and how to get it
  def missing = [cargo, libclang].compact

  private

  def cargo
    # Here the user has asked rb_sys to install a toolchain of its own.
    return unless ["", "false"].include?(@env["RB_SYS_FORCE_INSTALL_RUST_TOOLCHAIN"].to_s)

    name = @env["CARGO"] || "cargo"
    # If cargo is rustup's, it must not download a toolchain now.
    output, status = Open3.capture2e({ "RUSTUP_AUTO_INSTALL" => "0" }, name, "--version")
    version = output[/^cargo (\d+(?:\.\d+)+)/, 1]
    unless status.success? && version
      return "#{name} does not run (#{output.lines.first.to_s.strip}): install Rust #{@rust} or newer from #{RUST}"
    end
    return if Gem::Version.new(version) >= Gem::Version.new(@rust)

    "#{name} #{version} is too old: install Rust #{@rust} or newer, with rustup update or from #{RUST}"
  rescue SystemCallError
    "there is no #{name}: install Rust #{@rust} or newer from #{RUST}"
  end

  # Looks in the places where the crate clang-sys looks on Linux. On other systems the build's own error must do.
  def libclang
    return if @env["LIBCLANG_PATH"].nil? && (RbConfig::CONFIG["host_os"] !~ /linux/ || bundled?)

    places = @env["LIBCLANG_PATH"] ? [@env["LIBCLANG_PATH"]] : folders
    return if places.any? { |place| library?(place) }

    where = @env["LIBCLANG_PATH"] ? "in $LIBCLANG_PATH (#{@env["LIBCLANG_PATH"]})" : "on this system"
    "there is no libclang #{where}: install libclang-dev (Debian, Ubuntu), clang-devel (Fedora) or clang-dev (Alpine), " \
      "or set LIBCLANG_PATH to its folder"
  end

  # Whether there is the gem libclang, which rb_sys takes then.
  def bundled?
    require "libclang"
    true
  rescue LoadError
    false
  end

  def folders
    prefix, status = Open3.capture2(@env["LLVM_CONFIG_PATH"] || "llvm-config", "--prefix", err: File::NULL)
    llvm = status.success? ? %w[bin lib lib64].map { |name| File.join(prefix.strip, name) } : []
    llvm + paths + Dir.glob(FOLDERS)
  rescue SystemCallError
    paths + Dir.glob(FOLDERS)
  end

  def paths = %w[LD_LIBRARY_PATH LIBRARY_PATH].flat_map { |name| @env[name].to_s.split(File::PATH_SEPARATOR) }

  def library?(place)
    return File.basename(place).match?(/\Alibclang.*(\.so|\.dylib|\.dll)/) if File.file?(place)

    names = [*LIBRARIES, "libclang.dylib", "libclang.dll"]
    Dir.glob(names, base: place).any? { |name| !name.include?("-cpp.") }
  end
end
