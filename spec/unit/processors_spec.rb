# frozen_string_literal: true

require "fileutils"
require "tmpdir"
require_relative "unit_helper"

# How many workers `auto` is, with the files of a control group made up.
RSpec.describe PushServer::Processors do
  # files: path => text, below a root of its own.
  def count(online, files)
    Dir.mktmpdir do |root|
      files.each do |path, text|
        FileUtils.mkdir_p(File.dirname(File.join(root, path)))
        File.write(File.join(root, path), text)
      end
      described_class.new(root: root, online: online).count
    end
  end

  v2 = { "proc/self/cgroup" => "0::/\n" }
  v1 = { "proc/self/cgroup" => "12:cpuset:/\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n" }
  quota = "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us"
  period = "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us"

  {
    "no control groups" => [{}, 8],
    "version 2 without a quota" => [v2.merge("sys/fs/cgroup/cpu.max" => "max 100000\n"), 8],
    "version 2 with a quota" => [v2.merge("sys/fs/cgroup/cpu.max" => "300000 100000\n"), 3],
    "a part of a processor" => [v2.merge("sys/fs/cgroup/cpu.max" => "250000 100000\n"), 2],
    "less than one processor" => [v2.merge("sys/fs/cgroup/cpu.max" => "50000 100000\n"), 1],
    "a quota above the number of processors" => [v2.merge("sys/fs/cgroup/cpu.max" => "6400000 100000\n"), 8],
    "another period" => [v2.merge("sys/fs/cgroup/cpu.max" => "20000 10000\n"), 2],
    "a quota of a group above" => [{ "proc/self/cgroup" => "0::/a.slice/b.service\n", "sys/fs/cgroup/a.slice/cpu.max" => "200000 100000\n",
                                     "sys/fs/cgroup/a.slice/b.service/cpu.max" => "max 100000\n" }, 2],
    "a path of the host, which the container does not see" => [{ "proc/self/cgroup" => "0::/../../pod\n", "sys/fs/cgroup/cpu.max" => "200000 100000\n" }, 2],
    "version 1 with a quota" => [v1.merge(quota => "400000\n", period => "100000\n"), 4],
    "version 1 without a quota" => [v1.merge(quota => "-1\n", period => "100000\n"), 8],
    "version 1, the group's own folder" => [v1.merge("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us" => "200000",
                                                     "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us" => "100000"), 2],
    "files that make no sense" => [{ "proc/self/cgroup" => "x\n0::\n:\n", "sys/fs/cgroup/cpu.max" => "\n" }, 8]
  }.each do |case_, (files, expected)|
    it "is right for #{case_}" do
      expect(count(8, files)).to eq(expected)
    end
  end

  taskset = system("taskset", "-c", "0", "true", out: File::NULL, err: File::NULL)

  it "takes the affinity of the process into account", if: taskset do
    lib = File.expand_path("../../lib/push_server/config/processors", __dir__)
    count = IO.popen(["taskset", "-c", "0", RbConfig.ruby, "-r", lib, "-e", "puts PushServer::Processors.count"], &:read)
    expect(count).to eq("1\n")
  end
end
