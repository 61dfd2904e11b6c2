# frozen_string_literal: true

require "spec_helper"
require "rbconfig"

# What `gem install` says if it cannot build: one line for each thing that is missing, before anything is built.
RSpec.describe "The extension's extconf.rb" do
  include Command

  extconf = File.join(AppProcess::ROOT, "ext/push_server/extconf.rb")
  rust = File.read(File.join(AppProcess::ROOT, "Cargo.toml"))[/^rust-version = "(.+)"/, 1]

  around { |example| Dir.mktmpdir("push_server-extconf") { |dir| (@dir = dir) && example.run } }

  attr_reader :dir

  # Puts a program into the only folder of the PATH.
  def program(name, script)
    path = File.join(dir, "bin", name)
    FileUtils.mkdir_p(File.dirname(path))
    File.write(path, "#!/bin/sh\n#{script}\n")
    File.chmod(0o755, path)
  end

  def cargo(version) = program("cargo", "echo 'cargo #{version} (0123456789 2026-01-01)'")

  def clang
    path = File.join(dir, "clang", "libclang.so.1")
    FileUtils.mkdir_p(File.dirname(path))
    File.write(path, "")
    { "LIBCLANG_PATH" => File.dirname(path) }
  end

  # As RubyGems runs it. Only then rb_sys installs what is missing.
  define_method(:configure) do |**env|
    FileUtils.mkdir_p([File.join(dir, "bin"), File.join(dir, "build")])
    bare = { "PATH" => File.join(dir, "bin"), "CARGO" => nil, "LLVM_CONFIG_PATH" => nil, "LIBCLANG_PATH" => nil,
             "RB_SYS_FORCE_INSTALL_RUST_TOOLCHAIN" => nil, "SOURCE_DATE_EPOCH" => "1" }
    run_command(RbConfig.ruby, extconf, env: bare.merge(env.transform_keys(&:to_s)), dir: File.join(dir, "build"))
  end

  def makefile = File.join(dir, "build/Makefile")

  define_method(:expect_refusal) do |result, *lines|
    expect(result.complaint).to match(lines.map { |line| /\Apush_server cannot be built: #{line}\z/ })
    expect(result.exitstatus).to eq(1)
    expect(File.exist?(makefile)).to be(false)
  end

  it "says that there is no cargo" do
    expect_refusal(configure(**clang), /there is no cargo: install Rust #{rust} or newer from https:\S+/)
  end

  it "says that cargo is too old" do
    cargo("1.63.0")
    expect_refusal(configure(**clang), /cargo 1.63.0 is too old: install Rust #{rust} or newer, with rustup update or from .+/)
  end

  it "says that cargo does not run" do
    program("cargo", "echo 'error: rustup could not choose a version of cargo to run' >&2; exit 1")
    expect_refusal(configure(**clang), /cargo does not run \(error: rustup could not .+\): install Rust #{rust} or newer from .+/)
  end

  it "says that there is no libclang in the folder of $LIBCLANG_PATH" do
    cargo("1.99.0")
    FileUtils.mkdir_p(File.join(dir, "empty"))
    File.write(File.join(dir, "empty", "libclang-cpp.so.14"), "")
    expect_refusal(configure("LIBCLANG_PATH" => File.join(dir, "empty")),
                   /there is no libclang in \$LIBCLANG_PATH \(\S+empty\): install libclang-dev .+ or set LIBCLANG_PATH to its folder/)
  end

  it "names everything that is missing at once" do
    expect_refusal(configure("LIBCLANG_PATH" => dir), /there is no cargo: .+/, /there is no libclang .+/)
  end

  it "writes a Makefile that downloads nothing, if nothing is missing" do
    cargo(rust)
    result = configure(**clang)
    expect([result.err, result.exitstatus]).to eq(["", 0])
    expect(File.read(makefile)).to match(/^RB_SYS_FORCE_INSTALL_RUST_TOOLCHAIN\s*\?=\s*false$/)
  end

  it "lets rb_sys install Rust if the user asks for that" do
    result = configure(**clang, "RB_SYS_FORCE_INSTALL_RUST_TOOLCHAIN" => "stable")
    expect([result.err, result.exitstatus]).to eq(["", 0])
    expect(File.read(makefile)).to include("rustup toolchain install")
  end
end
