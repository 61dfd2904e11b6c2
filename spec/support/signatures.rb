# frozen_string_literal: true

# What sig/push_server.rbs declares, by name: one declaration a line, as the file has them. (`rake lint:rbs` checks that
# it is valid RBS.)
class Signatures
  FILE = File.expand_path("../../sig/push_server.rbs", __dir__)

  # The declarations of one class or module.
  Declared = Struct.new(:instance, :singleton, :constants) do
    def self.empty = new([], [], [])
  end

  # @return [Hash{String => Declared}] by the full name; interfaces are left out
  def self.all(lines = File.readlines(FILE))
    nesting = []
    lines.each_with_object({}) do |line, all|
      case line
      when /^\s*(?:class|module|interface) (\w+)/ then nesting.push($1) && all[nesting.join("::")] = Declared.empty
      when /^\s*end$/ then nesting.pop
      else declare(all[nesting.join("::")], line)
      end
    end.reject { |name, _| name.match?(/(?:\A|::)_/) }
  end

  def self.declare(declared, line)
    case line
    when /^\s*def self\.([^:\s]+): / then declared.singleton << $1.to_sym
    when /^\s*def ([^:\s]+): / then declared.instance << $1.to_sym
    when /^\s*alias (\S+) / then declared.instance << $1.to_sym
    when /^\s*attr_reader (\w+):/ then declared.instance << $1.to_sym
    when /^\s*attr_accessor (\w+):/ then declared.instance.push($1.to_sym, :"#{$1}=")
    when /^\s*([A-Z]\w*): / then declared.constants << $1.to_sym
    end
  end
  private_class_method :declare
end
