# frozen_string_literal: true

# Finds what of the library has no documentation, from the sources and the loaded classes, without YARD.
class Documentation
  LIB = File.expand_path("../../lib", __dir__)
  NATIVE = Dir[File.join(LIB, "push_server/native/*.rb")].sort
  # A line that documentation cannot reach across: what is above belongs to something else.
  BARRIER = /^\s*$|^\s*(?:class|module|private|end)\b|\bdo(?: \|.*\|)?$/

  # Public methods and constants of Ruby code without a comment above. A paragraph of short definitions may share one.
  # @return [Array<String>]
  def undocumented
    places = methods.filter_map { |name, method| [name, method.source_location] if method.source_location } + constants
    ours = places.select { |_, (file, _)| file.start_with?(LIB) && file.end_with?(".rb") }
    ours.reject { |_, (file, line)| commented?(file, line) }.map(&:first)
  end

  # Public methods and constants that are defined natively.
  # @return [Array<String>] such as "PushServer::Client#write"
  def native
    methods.reject { |_, method| method.source_location || method.owner < Struct || struct?(method.owner) }.map(&:first) +
      constants.reject { |_, (file, _)| file.end_with?(".rb") }.map(&:first)
  end

  # What lib/push_server/native/ documents: the name, and the text.
  # @return [Hash{String => String}]
  def native_texts
    owner = []
    NATIVE.flat_map { |file| File.readlines(file) }.slice_before(/^\s*(?:class|module|end)\b|# @!method|#\s+[A-Z_]+ = |^\s*$/).with_object({}) do |lines, texts|
      case lines.first
      when /^\s*(?:class|module) (\w+)/ then owner << $1
      when /^\s*end$/ then owner.pop
      when /# @!method (self\.)?([^\s(]+)/ then texts["#{owner.join("::")}#{$1 ? "." : "#"}#{$2}"] = text(lines.drop(1))
      when /#\s+([A-Z_]+) = / then texts["#{owner.join("::")}::#{$1}"] = text(lines)
      end
    end
  end

  private

  def text(lines) = lines.join.gsub(/^\s*#\s*/, "").strip

  def struct?(owner) = owner.singleton_class? && ObjectSpace.each_object(owner).any? { |type| type < Struct }

  def modules
    @modules ||= ObjectSpace.each_object(Module).select { |type| type.name.to_s.match?(/\APushServer(?:::|\z)/) }
                            .sort_by(&:name)
  end

  # [name, UnboundMethod], of all public methods.
  def methods
    modules.flat_map do |type|
      { "#" => type, "." => type.singleton_class }.flat_map do |mark, owner|
        owner.public_instance_methods(false).map { |name| ["#{type}#{mark}#{name}", owner.instance_method(name)] }
      end
    end
  end

  # [name, [file, line]], of all public constants that are no modules.
  def constants
    modules.flat_map do |type|
      type.constants(false).reject { |name| type.const_get(name).is_a?(Module) }
          .map { |name| ["#{type}::#{name}", type.const_source_location(name)] }
    end
  end

  def commented?(file, line)
    above = lines(file).take(line - 1).reverse.take_while { |text| !text.match?(BARRIER) }
    above.any? { |text| text.match?(/^\s*#/) }
  end

  def lines(file) = (@lines ||= {})[file] ||= File.readlines(file, encoding: Encoding::UTF_8)
end
