# frozen_string_literal: true

# The code of a page of docs/, for specs that run it.
class DocsPage
  DIR = File.expand_path("../../docs", __dir__)

  def initialize(name)
    @sections = File.read(File.join(DIR, name)).split(/^## /).drop(1).to_h { |section| section.split("\n", 2) }
  end

  # All code blocks in this language under a heading, joined.
  def code(heading, language)
    blocks = @sections.fetch(heading).scan(/^```#{language}\n(.*?)^```$/m).flatten
    raise KeyError, "no #{language} under #{heading.inspect}" if blocks.empty?

    blocks.join("\n")
  end

  # The files in the page: code blocks whose first line is a comment with a path.
  # @return [Hash{String => String}] path => text
  def files
    blocks = @sections.values.join.scan(/^```(?:ruby|erb)\n((?:# |<%# )([\w.\/]+)(?: %>)?\n.*?)^```$/m)
    blocks.to_h { |text, path| [path, text] }
  end
end
