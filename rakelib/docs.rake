# frozen_string_literal: true

desc "Write docs/options.md from the table of options"
task :docs do
  require_relative "options_page"
  File.write(OptionsPage::PATH, OptionsPage.markdown)
end
