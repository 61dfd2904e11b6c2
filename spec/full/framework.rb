# frozen_string_literal: true

require "spec_helper"

# Real frameworks for apps under test: where their gems are.
module Framework
  # Only the gems of Debian's packages for Debian's Ruby, and none of this process.
  SYSTEM = { "GEM_HOME" => nil, "GEM_PATH" => nil, "RUBYOPT" => nil }.freeze

  module_function

  # The environment in which an app finds all these gems; nil if they are missing.
  def environment(*gems)
    [{}, SYSTEM].find do |environment|
      system(environment, RbConfig.ruby, "-e", "ARGV.each { |name| gem name }", *gems, out: File::NULL, err: File::NULL)
    end
  end

  # In an example group: starts spec/apps/NAME/config.ru with these gems for its examples, or skips them.
  def serve(group, name, *gems)
    environment = environment(*gems)
    if environment
      group.serve File.join(AppProcess::ROOT, "spec/apps", name, "config.ru"), dir: Dir.tmpdir, env: environment
    else
      group.before(:context) do
        skip "There is no #{gems.join(", ")} here: bin/test --full and bin/debian13 say how to have it"
      end
    end
  end
end
