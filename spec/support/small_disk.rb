# frozen_string_literal: true

require "fileutils"
require "open3"
require "tmpdir"

# A file system for one spec, which can be full or frozen. The user must be allowed to mount one; otherwise `make` returns nil.
class SmallDisk
  # Where it is mounted.
  attr_reader :path

  class << self
    # Makes one in memory, of this size in bytes.
    def make(size) = build { |disk| disk.run("mount", "-t", "tmpfs", "-o", "size=#{size},mode=1777", "tmpfs", disk.path) }

    # Makes one in a file, which can be frozen.
    def freezable(size)
      build do |disk|
        image = File.join(disk.folder, "image")
        File.open(image, "wb") { |file| file.truncate(size) }
        disk.run("mkfs.ext4", "-q", image) && disk.run("mount", "-o", "loop", image, disk.path) && File.chmod(0o1777, disk.path)
      end
    end

    private

    def build
      disk = new
      return disk if yield disk

      disk.remove
      nil
    end
  end

  attr_reader :folder

  def initialize
    @folder = Dir.mktmpdir("push_server-disk")
    @path = File.join(@folder, "mounted")
    Dir.mkdir(@path)
  end

  # From now on every write waits.
  def freeze_writes = @frozen = run("fsfreeze", "-f", path)

  def thaw
    run("fsfreeze", "-u", path) if @frozen
    @frozen = false
  end

  def remove
    thaw
    # Lazily: a server that was killed may still have files open.
    run("umount", "-l", path)
    FileUtils.remove_entry(@folder)
  end

  def run(*command)
    _, status = Open3.capture2e(*command)
    status.success?
  rescue Errno::ENOENT
    false
  end
end
