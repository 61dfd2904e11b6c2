# frozen_string_literal: true

require "tsort"

# Which file of a crate names which other one, read from its `use` lines and paths. Tests, at the end of a file or in a
# tests.rs, do not count: they may know more.
class Layers
  ROOT = File.expand_path("../..", __dir__)

  # One graph: the edges of each node. Nodes are Strings.
  class Graph
    include TSort

    def initialize(edges) = @edges = edges

    # Nodes that lead back to themselves: each an Array, sorted.
    def cycles = strongly_connected_components.select { |nodes| nodes.size > 1 }.map(&:sort).sort

    # [from, to], all of them.
    def to_a = @edges.flat_map { |from, all| all.map { |to| [from, to] } }.sort

    private

    def tsort_each_node(&block) = @edges.each_key(&block)
    def tsort_each_child(node, &block) = @edges.fetch(node, []).each(&block)
  end

  # @param source [String] a folder with a crate's sources, from the root of the project
  def initialize(source) = @source = File.join(ROOT, source)

  # The layers of the crate, its folders and the files beside them: which uses which.
  def uses
    Graph.new(modules.group_by { |name, _| name.first }.transform_values do |all|
      all.flat_map { |_, named| named.map(&:first) }.uniq - [all.first.first.first]
    end)
  end

  # The files and folders of one folder, such as "http" or "http/h1": which uses which. The folder's own mod.rs is left
  # out: it names all that the folder holds.
  # @param folder [String] below the crate's sources
  def files(folder)
    above = folder.split("/")
    inside = modules.select { |name, _| name.size > above.size && name.take(above.size) == above }
    Graph.new(inside.group_by { |name, _| name[above.size] }.to_h do |file, all|
      named = all.flat_map { |_, paths| paths }.select { |path| path.take(above.size) == above }.filter_map { |path| path[above.size] }
      [file, named.uniq & inside.map { |name, _| name[above.size] } - [file]]
    end)
  end

  private

  # The modules of the crate: their path, such as ["http", "files", "range"], and the paths that they name.
  def modules
    @modules ||= begin
      all = Dir[File.join(@source, "**/*.rs")].sort.to_h do |path|
        [path.delete_prefix("#{@source}/").delete_suffix(".rs").delete_suffix("/mod").split("/"), path]
      end
      tests = all.flat_map { |name, path| tests_of(path).map { |test| name + [test] } }
      all.except(["lib"]).reject { |name, _| tests.any? { |test| name.take(test.size) == test } }
         .to_h { |name, path| [name, named(name, code(path))] }
    end
  end

  # The modules in files of their own that exist for tests alone.
  def tests_of(path) = File.read(path).scan(/^#\[cfg\(test\)\]\n(?:pub(?:\([^)]*\))? )?mod (\w+);/).flatten

  # Without comments, and without the tests at a file's end.
  def code(path)
    File.read(path).sub(/^#\[cfg\(test\)\]\nmod tests \{.*/m, "").gsub(%r{//.*}, "")
  end

  def named(name, text)
    paths = expand(text.scan(/^\s*(?:pub(?:\([^)]*\))? )?use ([^;]+);/m).flatten) + text.scan(/\b((?:crate|super)(?:::\w+)+)/).flatten
    paths.filter_map { |path| absolute(name, path.split("::")) }.uniq
  end

  # "a::{b, c::{d, e}}" => ["a::b", "a::c::d", "a::c::e"]
  def expand(uses)
    uses.flat_map do |use|
      use = use.gsub(/\s+/, " ").strip
      next [use] unless (match = use.match(/\A(.*?)\{(.*)\}\z/m))

      split(match[2]).flat_map { |part| expand([match[1] + part]) }
    end
  end

  # At the commas outside of braces.
  def split(list)
    depth = 0
    list.each_char.slice_after { |char| (depth += { "{" => 1, "}" => -1 }.fetch(char, 0)).zero? && char == "," }
        .map { |chars| chars.join.delete_suffix(",").strip }.reject(&:empty?)
  end

  # The module that a path names. What the crate's root exports again, such as crate::Limits, belongs to no module here.
  def absolute(name, path)
    case path.first
    when "crate" then path = path.drop(1)
    when "super"
      ups = path.take_while { |part| part == "super" }.size
      path = name.take([name.size - ups, 0].max) + path.drop(ups)
    else return
    end
    path if path.first&.match?(/\A[a-z]/)
  end
end
