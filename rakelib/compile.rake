# frozen_string_literal: true

require "rb_sys/extensiontask"

RbSys::ExtensionTask.new("push_server") do |ext|
  ext.lib_dir = "lib/push_server"
  # A folder for each profile: make copies only files that are newer, and a library of the other profile may be older.
  ext.tmp_dir = File.join("tmp", ENV.fetch("RB_SYS_CARGO_PROFILE", "release"))
  # The core crate is outside of the extension's folder.
  ext.source_pattern = "../../src/**/*.rs"
end

# bin/setup records the profile with which it has compiled. After another profile it must compile again.
task :compile do
  note = ".local/extension"
  profile = ENV.fetch("RB_SYS_CARGO_PROFILE", "release")
  rm_f note if File.exist?(note) && File.read(note).split.last != profile
end
