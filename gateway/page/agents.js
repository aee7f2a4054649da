// The agents as a caller chooses them. Pure.

// {agents: [id], details?: {id: {name?, description?}}} -> [{id, name, description}]. Without a name the id stands for it.
// The list adds the id to agents that share a name.
export function agentChoices({ agents, details = {} }) {
  const nameOf = (id) => details[id]?.name || id
  const count = (name) => agents.filter((id) => nameOf(id) === name).length
  return agents.map((id) => {
    const name = nameOf(id)
    return { id, name: count(name) > 1 && name !== id ? `${name} (${id})` : name, description: details[id]?.description ?? '' }
  })
}
