# frozen_string_literal: true

# The processes of a server with workers, by what their titles say. Needs /proc.
class ProcessTree
  # A child of the supervisor. number: the worker's, or the generation of a leader; nil for the hub. process: the number of the
  # worker's start.
  Child = Struct.new(:pid, :role, :number, :process)
  TITLE = /\Apush_server: (?<role>hub|leader|worker)(?: (?<number>\d+))?(?: process (?<process>\d+))?/

  def initialize(supervisor)
    @supervisor = supervisor
  end

  # The children that run now; not those that have ended and were not reaped yet.
  def children
    Dir.children("/proc").grep(/\A\d+\z/).filter_map do |pid|
      next unless parent(pid) == @supervisor

      title = TITLE.match(File.binread("/proc/#{pid}/cmdline").delete("\0"))
      title && Child.new(pid.to_i, title[:role].to_sym, title[:number]&.to_i, title[:process]&.to_i)
    rescue SystemCallError
      nil
    end
  end

  def all(role) = children.select { |child| child.role == role }

  def workers = all(:worker)
  def leaders = all(:leader)
  def hub = all(:hub).first

  private

  # The parent's pid; nil for a zombie.
  def parent(pid)
    state, parent = File.binread("/proc/#{pid}/stat")[/\) (.*)/m, 1].split
    parent.to_i unless %w[Z X].include?(state)
  end
end
