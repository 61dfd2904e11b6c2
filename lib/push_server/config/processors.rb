# frozen_string_literal: true

require "etc"

module PushServer
  # How many processors this process may use. Any thread.
  class Processors
    # Where the system describes control groups.
    ROOT = "/"
    private_constant :ROOT

    # @return [Integer] at least 1
    def self.count = new.count

    # @param root [String] the folder that has proc and sys
    # @param online [Integer] the processors that the scheduler gives to this process: Ruby asks for its affinity, which
    #   taskset, Docker's --cpuset-cpus and systemd's AllowedCPUs set
    def initialize(root: ROOT, online: Etc.nprocessors)
      @root = root
      @online = online
    end

    # The processors, or the quota of the container if that is less. A part of a processor does not count.
    # @return [Integer] at least 1
    def count = [@online, *quotas].min.floor.clamp(1..)

    private

    # The quotas, in processors, of the control group of this process and of all groups above it.
    def quotas
      groups.flat_map do |controllers, path|
        controllers.empty? ? above("sys/fs/cgroup", path) { |folder| v2(folder) } : v1_quotas(controllers, path)
      end
    end

    # Of v1 each group of controllers has its own tree, whose folder has their names.
    def v1_quotas(controllers, path)
      return [] unless controllers.split(",").include?("cpu")

      above(File.join("sys/fs/cgroup", controllers), path) { |folder| v1(folder) }
    end

    # [controllers, path]; version 2 has no names of controllers. A container may see a path of its host, which is not
    # there: then the top of the tree is its own group.
    def groups
      (read("proc/self/cgroup") || "").lines.map { |line| line.chomp.split(":", 3).last(2) }.select { |group| group.size == 2 }
    end

    def above(top, path)
      parts = path.split("/").reject { |part| part.empty? || part == ".." }
      (0..parts.size).filter_map { |depth| yield File.join(top, *parts.take(depth)) }
    end

    # cpu.max: "150000 100000" is 1.5 processors, "max 100000" is no quota.
    def v2(folder)
      quota, period = read(File.join(folder, "cpu.max"))&.split&.map(&:to_i)
      ratio(quota, period)
    end

    # A quota of -1 is none.
    def v1(folder)
      ratio(*%w[cpu.cfs_quota_us cpu.cfs_period_us].map { |name| read(File.join(folder, name))&.to_i })
    end

    def ratio(quota, period) = (quota.to_f / period if quota&.positive? && period&.positive?)

    def read(path)
      File.read(File.join(@root, path))
    rescue SystemCallError
      nil
    end
  end
end
